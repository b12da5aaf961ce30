package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// plainAt opens a connection without TLS; nil: nobody listens.
func plainAt(t *testing.T, address string) *wire {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return nil
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return &wire{t: t, conn: nc, in: bufio.NewReader(nc), v: mqtt.V5}
}

// TestListenersComeAndGo: a reload opens, moves and closes listeners, also those on an
// interface; others and their clients do not notice, and what cannot be had changes nothing.
func TestListenersComeAndGo(t *testing.T) {
	t.Parallel()
	first, second, third := testkit.FreePort(t), testkit.FreePort(t), testkit.FreePort(t)
	b := start(t, testkit.Options{
		Listeners: fmt.Sprintf("  lo:\n    protocol: mqtts\n    bind: [\"lo:%d\"]\n  old:\n    protocol: mqtt\n    bind: [\"127.0.0.1:%d\"]\n", first, second),
	})
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	text, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(change func(string) string) testkit.Run {
		t.Helper()
		testkit.WriteFile(t, b.Config, change(string(text)))
		r := b.Redoubt("", "reload")
		if r.Code == 0 {
			text = []byte(change(string(text)))
		}
		return r
	}
	swap := func(old, new string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("no %q in\n%s", old, s)
			}
			return strings.Replace(s, old, new, 1)
		}
	}
	addresses := rowsOfStatus(t, b)
	if addresses["lo "+at(first)] != 1 {
		t.Fatalf("the interface lo is not listened on: %v", addresses)
	}
	steady := connect(t, b, mqtt.V5, "steady")
	old := plainAt(t, at(second))
	if old == nil || old.enters("old", true) != mqtt.Success {
		t.Fatal("nobody gets in at the listener old")
	}

	// What cannot be had: a port that is taken, an interface that is not there.
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, bad := range []struct{ bind, says string }{
		{held.Addr().String(), "listeners.new.bind: cannot listen on " + held.Addr().String()},
		{fmt.Sprintf("nosuch0:%d", third), "there is no network interface nosuch0; there is "},
	} {
		r := reload(func(s string) string {
			return swap(at(second), at(third))(swap("metrics:\n", fmt.Sprintf("  new:\n    protocol: mqtts\n    bind: [\"%s\"]\nmetrics:\n", bad.bind))(s))
		})
		if r.Code == 0 || !strings.Contains(r.Text(), bad.says) || !strings.Contains(r.Text(), "Nothing has been reloaded") {
			t.Errorf("%s: exit code %d\n%s", bad.bind, r.Code, r.Text())
		}
		if plainAt(t, at(third)) != nil || plainAt(t, at(second)) == nil {
			t.Errorf("%s: something has changed\n%s", bad.bind, b.Log())
		}
		old.wantAlive()
	}

	// One more, and another address of one: its clients stay.
	if r := reload(func(s string) string {
		return swap(at(second), at(third))(swap("metrics:\n", "  new:\n    protocol: mqtt\n    bind: [\"127.0.0.1:0\"]\nmetrics:\n")(s))
	}); r.Code != 0 || !strings.Contains(r.Stdout, "listeners.new.bind") {
		t.Fatalf("exit code %d\n%s", r.Code, r.Text())
	}
	old.wantAlive()
	if w := plainAt(t, at(third)); w == nil || w.enters("moved", true) != mqtt.Success {
		t.Errorf("nobody gets in where the listener old is now\n%s", b.Log())
	}
	var added string
	for a := range rowsOfStatus(t, b) {
		if rest, ok := strings.CutPrefix(a, "new "); ok {
			added = rest
		}
	}
	if w := plainAt(t, added); w == nil || w.enters("new", true) != mqtt.Success {
		t.Errorf("nobody gets in at the new listener %q\n%s", added, b.Log())
	}

	// None of it any more: its clients are told.
	if r := reload(swap(fmt.Sprintf("  old:\n    protocol: mqtt\n    bind: [\"127.0.0.1:%d\"]\n", third), "")); r.Code != 0 {
		t.Fatalf("exit code %d\n%s", r.Code, r.Text())
	}
	old.wantDisconnect(mqtt.AdministrativeAction)
	for end := time.Now().Add(patience); plainAt(t, at(second)) != nil || plainAt(t, at(third)) != nil; {
		if time.Now().After(end) {
			t.Fatal("the listener old listens still")
		}
	}
	steady.wantAlive()
}

// rowsOfStatus are the listeners in redoubt status: "NAME ADDRESS".
func rowsOfStatus(t *testing.T, b *testkit.Broker) map[string]int {
	t.Helper()
	r := b.Redoubt("", "status", "-o", "json")
	var status struct {
		Listeners []struct{ Name, Address string }
	}
	if err := json.Unmarshal([]byte(r.Stdout), &status); err != nil {
		t.Fatalf("%v\n%s", err, r.Text())
	}
	out := make(map[string]int)
	for _, l := range status.Listeners {
		out[l.Name+" "+l.Address]++
	}
	return out
}
