package harden

import (
	"context"
	"fmt"
	"time"
)

// Of adjtimex(2): who keeps the clock clears the first, and the call answers the
// second while nobody does.
const (
	clockUnsynchronised = 0x0040 // STA_UNSYNC
	clockError          = 5      // TIME_ERROR
)

// How far off a clock may be. Beyond the second figure the kernel itself calls it
// not synchronised.
const (
	clockErrorMost = time.Second
	clockErrorEnd  = 16 * time.Second
)

// clockKept is row P1.11: the clock in force, whatever a service writes into files.
func clockKept(ctx context.Context, e *Env) []Result {
	if _, err := e.here(ctx); err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("node")
	const what, want, where = "synchronisation of the clock", "kept by somebody, to a second", "adjtimex"
	c, err := e.host().Clock()
	if err != nil {
		q.blind(what, want, where, err)
		return []Result{q.result(Kernel, "")}
	}
	off := time.Duration(c.MaxErrorMicros) * time.Microsecond
	switch {
	case c.Status&clockUnsynchronised != 0, c.State == clockError:
		q.told(what, want, "nobody keeps it, as far as the kernel knows", where, Fail)
	case off >= clockErrorEnd:
		q.told(what, want, fmt.Sprintf("it may be %v off: nobody has kept it for long", off), where, Fail)
	case off > clockErrorMost:
		q.told(what, want, fmt.Sprintf("it may be %v off", off), where, Warn)
	default:
		q.told(what, want, fmt.Sprintf("at most %v off", off), where, Pass)
	}
	return []Result{q.result(Kernel, "the clock is kept")}
}
