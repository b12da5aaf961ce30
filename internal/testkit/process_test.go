package testkit

import "testing"

// What waits for itself when it is asked to end is ended, if that is known of it.
func TestWhatMayHangIsEnded(t *testing.T) {
	t.Parallel()
	p := Go(t, "", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
	p.MayHang = true
	if _, ok := p.Stdout.WaitFor(stopWithin, 0, "ready"); !ok {
		t.Fatal("it did not start")
	}
	if r := p.Stop(); r.Code != -1 {
		t.Errorf("exit code %d, want -1, of a signal", r.Code)
	}
}
