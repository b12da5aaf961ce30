package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Who makes a session with every connect gets three quarters of what there is, and no more;
// those who come for one find it.
func TestNobodyHasAllSessions(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.SessionsTotal = 400 })
	got := 0
	for i := range 400 {
		if d.opens(fmt.Sprint("eve/", i)) == mqtt.Success {
			got++
		}
	}
	if got != 300 {
		t.Errorf("eve has %d of 400 sessions", got)
	}
	for i, came := 0, 0; came < 100; i++ {
		user := fmt.Sprintf("user%d", i)
		if d.b.had.Place(user) == d.b.had.Place("eve") { // one in 65,536 is counted with her
			continue
		}
		if rc := d.opens(user + "/1"); rc != mqtt.Success {
			t.Fatalf("%s: %v", user, rc)
		}
		came++
	}
	if rc := d.opens("last/1"); rc != mqtt.QuotaExceeded {
		t.Errorf("more than there are: %v", rc)
	}
	if rc := d.opens("eve/7"); rc != mqtt.Success {
		t.Errorf("back to a session that is there: %v", rc)
	}
}

// When memory begins to be short, that counts from the beginning.
func TestNobodyHasAllSessionsInShortMemory(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.SessionsTotal = 10_000 })
	d.b.Press(load.Warm, nil)
	got := 0
	for i := range 1200 {
		if d.opens(fmt.Sprint("eve/", i)) == mqtt.Success {
			got++
		}
	}
	if got != 1001 {
		t.Errorf("eve has %d", got)
	}
	if rc := d.opens("alice/1"); rc != mqtt.Success {
		t.Errorf("alice: %v", rc)
	}
}

// opens connects user/clientid and answers the reason code.
func (d *desk) opens(who string) mqtt.ReasonCode {
	d.t.Helper()
	user, id, _ := strings.Cut(who, "/")
	if e := d.knocks(user, named(id)); e != nil {
		return e.Reason
	}
	return mqtt.Success
}

// The same for subscriptions.
func TestNobodyHasAllSubscriptions(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.SubscriptionsTotal = 400 })
	got := 0
	for i := range 20 {
		eve := d.sit(0, "eve", named(fmt.Sprint(i)))
		for j := range 20 {
			if eve.ask(fmt.Sprint("open/", j), 0) == 0 {
				got++
			}
		}
	}
	if got != 300 {
		t.Errorf("eve has %d of 400 subscriptions", got)
	}
	if rc := d.sit(0, "alice").ask("open/x", 0); rc != 0 {
		t.Errorf("alice: %v", rc)
	}
}
