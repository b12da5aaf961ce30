package harden

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// A broker may refuse a packet for its size and have taken the memory for it before: then a few
// headers of five bytes are all that it takes to end it. The kernel says what the process took.

// appetiteMax is how much a process may grow while it refuses a packet of 256 MiB: others are
// served meanwhile, and the runtimes take memory in large pieces.
const appetiteMax = packetMax / 2

// appetite is what a process has taken, in bytes: address space and memory, now and at most.
type appetite struct{ size, peak, resident, high int64 }

// appetiteOf reads it from the kernel.
func (e *Env) appetiteOf(pid int) (a appetite, err error) {
	b, err := e.readProc(pid, "status")
	if err != nil {
		return a, err
	}
	found := 0
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		to := map[string]*int64{"VmSize": &a.size, "VmPeak": &a.peak, "VmRSS": &a.resident, "VmHWM": &a.high}[name]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil {
			return a, fmt.Errorf("%s of the process is no number", name)
		}
		*to = kib << 10
		found++
	}
	if found != 4 {
		return a, fmt.Errorf("the kernel does not say how much memory the process has")
	}
	return a, nil
}

// grown is how much more there is in after, or was between. told is false where the process was
// once so large that nobody could see what it took and gave back at once.
func (a *appetite) grown(after *appetite) (bytes int64, told bool) {
	bytes = max(after.size-a.size, after.peak-a.peak, after.resident-a.resident, after.high-a.high, 0)
	return bytes, bytes > appetiteMax || a.peak-a.size < appetiteMax || a.high-a.resident < appetiteMax
}

// announced has a packet of 256 MiB announced, and judges whether the process took memory for it.
func (t *measure) announced(ctx context.Context, ask func()) {
	const what, want = "memory of the broker while a packet of 256 MiB is announced", "not taken for it"
	b, err := t.q.e.here(ctx)
	if err != nil { // elsewhere: that it is refused without its body is all there is
		ask()
		t.see(what, want, shortened(err.Error()), NotApplicable)
		return
	}
	before, err := t.q.e.appetiteOf(b.PID)
	ask()
	var after appetite
	if err == nil {
		after, err = t.q.e.appetiteOf(b.PID)
	}
	where := fmt.Sprintf("/proc/%d/status", b.PID)
	grown, told := before.grown(&after)
	switch {
	case err != nil:
		t.see(what, want, "cannot be read: "+shortened(err.Error()), Unknown)
	case grown > appetiteMax:
		t.see(what, want, fmt.Sprintf("it grew by %d MiB: what the header says is allocated before it is judged", grown>>20), Fail)
	case !told:
		t.see(what, want, "nothing of it is kept; it was once so large that what is given back at once cannot be seen", Pass)
	default:
		t.see(what, want, fmt.Sprintf("it grew by %d KiB, others served included", grown>>10), Pass)
	}
	t.q.source(where)
}
