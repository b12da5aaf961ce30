package builtin

import (
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

// A bug in a check, or in what its answer sets off, refuses that client: the worker goes on.
func TestABugInACheckRefusesOneClient(t *testing.T) {
	caught := make(chan any, 8)
	d := newDesk(t, Options{Workers: 1, Caught: func(fault any) { caught <- fault }})
	d.add("alice")
	whole := d.auth.store
	d.auth.store = nil
	for range 3 {
		got := make(chan auth.Result, 1)
		if refusal, _ := d.auth.queue.push(job{request("nobody", "a password"), func(r auth.Result) { got <- r }}); refusal != "" {
			t.Fatal(refusal)
		}
		if r := <-got; r.Outcome != auth.Unavailable || r.Reason == 0 {
			t.Errorf("a client that has set off a bug is answered %+v", r)
		}
		<-caught
	}
	d.auth.store = whole
	d.auth.Authenticate(request("alice", "wrong password"), func(auth.Result) { panic("a bug") })
	<-caught
	if !d.enters("alice", canary) {
		t.Error("the next client is refused")
	}
	if n := d.auth.Stats().Queued; n != 0 {
		t.Errorf("%d checks are still counted", n)
	}
}
