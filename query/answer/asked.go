package answer

import "time"

// WhatIfQuery is what is to be changed; zero values leave things as they are.
type WhatIfQuery struct {
	Destination, Group string        // empty: the input with the largest lag
	Consumers          int           // members of the group
	Rate               float64       // factor on what flows in
	PerConsumer        float64       // factor on what one consumer takes
	Retention          time.Duration // by age
	Partitions         int
}

// GroupQuery selects consumer groups.
type GroupQuery struct {
	Text          string // part of a name, any case
	State         string
	System        string
	Sort          string // lag, messages, name; worst first
	Limit, Offset int
}

// LossQuery selects rows of the ledger or incidents.
type LossQuery struct {
	From, To time.Time
	Pipeline string // empty: all
	Text     string // words that must all be found in names, class, evidence or reasons, any case
	Verdict  string // loss, unknown; empty: all
	Limit    int    // of incidents; 0 = no limit
}
