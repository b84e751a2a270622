package operation

import (
	"errors"
	"fmt"
	"time"
)

// Refusal is an error written for the person who asked: what happened and what
// to do about it. Everything else is "something went wrong" to people.
type Refusal struct {
	Code Code
	Text string
	err  error
}

// Code names the rule that refused, for the record and the tests.
type Code string

// Error implements error.
func (r *Refusal) Error() string { return r.Text }

// Unwrap returns the cause, which is logged and never shown.
func (r *Refusal) Unwrap() error { return r.err }

// Refuse makes a Refusal from a sentence for the person.
func Refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Text: fmt.Sprintf(format, args...)}
}

// RefuseBecause is Refuse with a cause for the log.
func RefuseBecause(err error, code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Text: fmt.Sprintf(format, args...), err: err}
}

// Unavailable is an error of the store's that says nothing about what was asked of it:
// the database did not answer, or has no space. What was to be written may be written or
// not; the same again, later, is right, and is done once.
type Unavailable struct {
	Why string // for people, as the beginning of a sentence
	Err error
}

// Error implements error.
func (u *Unavailable) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u *Unavailable) Unwrap() error { return u.Err }

// permanent marks an error that another try would only repeat.
type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }

// Permanent marks err as a definite refusal by a vendor: the step fails at once
// instead of being tried again until its time is up.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether err, or what it wraps, was marked by [Permanent].
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

// NotYet is returned by a step that has to look again later: the service is
// still rolling out, the key has not reached every replica.
type NotYet struct {
	After time.Duration // how long to wait before the next look
	Why   string        // what is still missing, as evidence if time runs out
	// ForPeople means that people have to do something first, who take their time:
	// the step's own does not run meanwhile, and no worker stays with it.
	ForPeople bool
}

// Error implements error.
func (n NotYet) Error() string { return "not yet: " + n.Why }

// DoAgain is returned by a verification that found the step's work missing: it
// has to be done once more, and is, while the step's time lasts.
type DoAgain struct{ Why string }

// Error implements error.
func (d DoAgain) Error() string { return "to be done again: " + d.Why }
