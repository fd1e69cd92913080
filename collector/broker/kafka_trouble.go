package broker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Codes that are met more than once.
var (
	codeDenied      = kerr.TopicAuthorizationFailed.Code
	codeGroupDenied = kerr.GroupAuthorizationFailed.Code
	codeNoTopic     = kerr.UnknownTopicOrPartition.Code
	codeNoTopicID   = kerr.UnknownTopicID.Code
	codeNoGroup     = kerr.GroupIDNotFound.Code
	codeTooOld      = kerr.UnsupportedVersion.Code
)

// kafkaError is the broker's name of a code; it knows codes that are newer than this client.
func kafkaError(code int16) error {
	if err := kerr.TypedErrorForCode(code); err != nil && err.Code == code {
		return errors.New(err.Message)
	}
	return fmt.Errorf("error %d", code)
}

// maxTrouble bounds how many kinds of trouble one poll tells apart.
const maxTrouble = 20

// trouble gathers what could not be read, by cause: a broker that is away must not make a thousand sentences.
type trouble struct {
	causes []cause
	more   int
}

type cause struct {
	what, first string
	n           int
}

// add notes one thing that could not be read; part is a partition, or negative.
func (t *trouble) add(what, name string, part int) {
	i := slices.IndexFunc(t.causes, func(c cause) bool { return c.what == what })
	switch {
	case i >= 0:
		t.causes[i].n++
		return
	case len(t.causes) >= maxTrouble:
		t.more++
		return
	}
	if part >= 0 {
		name = fmt.Sprintf("%s/%d", name, part)
	}
	t.causes = append(t.causes, cause{what, name, 1})
}

func (t *trouble) err() error {
	var errs []error
	for _, c := range t.causes {
		switch {
		case c.first == "":
			errs = append(errs, errors.New(c.what))
		case c.n == 1:
			errs = append(errs, fmt.Errorf("%s (%s)", c.what, c.first))
		default:
			errs = append(errs, fmt.Errorf("%s (%s and %d more)", c.what, c.first, c.n-1))
		}
	}
	if t.more > 0 {
		errs = append(errs, fmt.Errorf("and %d more causes", t.more))
	}
	return errors.Join(errs...)
}
