package audit

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

// TestLoginsAreASample: who is let in is written down where that is wanted, once a minute and
// client, with all that an operator asks for; a fleet takes nothing from what is said of others.
func TestLoginsAreASample(t *testing.T) {
	l, out, _ := newLog()
	now := time.Unix(1000, 0)
	dave := &auth.Principal{Identity: "dave", Username: "dave", ClientID: "pump-1", Method: "builtin", Listener: "mqtts", Addr: netip.MustParseAddr("192.0.2.17")}
	l.Admitted(now, dave, false)
	if out.Len() != 0 {
		t.Fatalf("nobody has asked for it: %s", out)
	}
	l.ShowLogins(true)
	for range 50 {
		l.Admitted(now, dave, true)
	}
	if n := strings.Count(out.String(), "client let in"); n != 1 {
		t.Errorf("%d lines:\n%s", n, out)
	}
	for _, want := range []string{"user=dave", "identity=dave", "client_id=pump-1", "address=192.0.2.17", "listener=mqtts", "method=builtin", "session_present=true"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the line lacks %s: %s", want, out)
		}
	}
	for i := range 5000 {
		l.Admitted(now, &auth.Principal{Identity: "fleet", ClientID: fmt.Sprint(i)}, false)
	}
	if n := strings.Count(out.String(), "client let in"); n > linesBurst {
		t.Errorf("a fleet has written %d lines", n)
	}
	out.Reset()
	l.Denied(now, dave, auth.Access{Action: auth.Publish, Topic: []byte("x")}, &auth.Rule{ID: "1"})
	if !strings.Contains(out.String(), "publish denied") {
		t.Error("a denial has no line because a fleet came back")
	}
	out.Reset()
	if l.Sweep(now.Add(Window)); !strings.Contains(out.String(), "clients that were let in") {
		t.Errorf("what was left out is not said:\n%s", out)
	}
	l.ShowLogins(false)
	out.Reset()
	if l.Admitted(now.Add(Window), dave, true); out.Len() != 0 {
		t.Errorf("it was turned off: %s", out)
	}
}
