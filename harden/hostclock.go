package harden

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
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
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("node")
	const what, want, where = "synchronisation of the clock", "kept by somebody, to a second", "adjtimex"
	c, err := e.host().Clock()
	if err != nil {
		q.blind(what, want, where, err)
		filtered := errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS)
		if filtered {
			e.timesyncd(q, b.PID)
		}
		r := q.result(Kernel, "")
		// The broker's own filter keeps it from asking; the doctor is another process of the
		// same kernel, and asks from there.
		r.Untried = e.Quiet && filtered
		return []Result{r}
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

// timesyncFile is what systemd-timesyncd touches each time that it has set the clock.
const timesyncFile = "run/systemd/timesync/synchronized"

// timesyncd mentions when the service of systemd says it last kept the clock. It is a file of
// a service and not the kernel's word: whatever stopped the clock since has not touched it, so
// that it is told and proves nothing.
func (e *Env) timesyncd(q *inquiry, pid int) {
	const what = "what systemd-timesyncd says"
	path := filepath.Join(e.proc(), strconv.Itoa(pid), "root", timesyncFile)
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		q.see(ReadFile, what, "", "nothing: it does not run here, or has not kept the clock since the start of the host", NotApplicable)
	case err != nil:
		q.see(ReadFile, what, "", "cannot be read: "+shortened(err.Error()), NotApplicable)
	default:
		q.see(ReadFile, what, "", "it kept the clock last at "+fi.ModTime().UTC().Format(time.DateTime+" UTC")+"; a file of a service is not the kernel's word", NotApplicable)
	}
	q.source(path)
}
