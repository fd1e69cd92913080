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
