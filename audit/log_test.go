package audit

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
)

func newLog() (*Log, *bytes.Buffer, *metrics.Registry) {
	var out bytes.Buffer
	reg := metrics.New()
	return New(slog.New(slog.NewTextHandler(&out, nil)), reg.NewShard()), &out, reg
}

func TestDeniedOncePerClientRuleAndMinute(t *testing.T) {
	l, out, reg := newLog()
	now := time.Unix(1000, 0)
	alice := &auth.Principal{Identity: "alice", Username: "alice", ClientID: "c1"}
	bob := &auth.Principal{Identity: "bob", Username: "bob", ClientID: "c1"}
	r7, r9 := &auth.Rule{ID: "7", File: "rules.yaml", Line: 12, Text: "deny all"}, &auth.Rule{ID: "9"}
	for range 1000 {
		l.Denied(now, alice, auth.Access{Action: auth.Publish, Topic: []byte("plant/x")}, r7)
	}
	l.Denied(now, bob, auth.Access{Action: auth.Publish, Topic: []byte("plant/x")}, r7)
	l.Denied(now, alice, auth.Access{Action: auth.Publish, Topic: []byte("plant/x")}, r9)
	l.Denied(now, alice, auth.Access{Action: auth.Subscribe, Topic: []byte("plant/x")}, r7)
	if n := strings.Count(out.String(), "denied"); n != 4 {
		t.Fatalf("%d lines, want 4:\n%s", n, out)
	}
	for _, want := range []string{"user=alice", "topic=plant/x", "file=rules.yaml", "line=12", `rule="deny all"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the line lacks %s:\n%s", want, out)
		}
	}
	if got := reg.Value(metrics.LogLinesSuppressed); got != 999 {
		t.Errorf("suppressed %d, want 999", got)
	}
	out.Reset()
	l.Sweep(now.Add(Window))
	if !strings.Contains(out.String(), "times=999") {
		t.Errorf("the repetitions were not told:\n%s", out)
	}
	l.Denied(now.Add(Window), alice, auth.Access{Action: auth.Publish, Topic: []byte("plant/x")}, r7)
	if !strings.Contains(out.String(), "topic=plant/x") {
		t.Errorf("the next minute is silent:\n%s", out)
	}
}

func TestManySubjectsAreBoundedInMemoryAndLines(t *testing.T) {
	l, out, _ := newLog()
	now := time.Unix(1000, 0)
	for i := range 10 * subjectsMax {
		l.Stranger(now, slog.LevelWarn, "CONNECT refused", netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), "bad user name or password", nil)
	}
	if n := strings.Count(out.String(), "\n"); n != linesBurst {
		t.Errorf("%d lines in one instant, want %d", n, linesBurst)
	}
	if len(l.strangers.seen) > subjectsMax {
		t.Errorf("%d subjects kept, want at most %d", len(l.strangers.seen), subjectsMax)
	}
	out.Reset()
	l.Denied(now, &auth.Principal{Identity: "alice"}, auth.Access{Action: auth.Publish, Topic: []byte("t")}, &auth.Rule{ID: "1"})
	if out.Len() == 0 {
		t.Error("strangers have silenced what is said of a client")
	}
	l.Sweep(now.Add(Window))
	if len(l.strangers.seen) != 0 {
		t.Errorf("%d subjects kept after their minute", len(l.strangers.seen))
	}
}

// One source is one subject, whatever it varies.
func TestAStrangerIsHisPrefix(t *testing.T) {
	l, out, _ := newLog()
	now := time.Unix(1000, 0)
	for i := range 1000 {
		l.Stranger(now, slog.LevelWarn, "CONNECT refused", netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), "client identifier not valid", func() []slog.Attr {
			return []slog.Attr{slog.Int("bytes", i)}
		})
		l.Stranger(now, slog.LevelWarn, "CONNECT refused", netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}), "client identifier not valid", func() []slog.Attr {
			return []slog.Attr{slog.Int("bytes", i)}
		})
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want one for each prefix", n)
	}
}

func TestLongTextIsCut(t *testing.T) {
	l, out, _ := newLog()
	l.Event(time.Unix(0, 0), slog.LevelWarn, "m", "w", slog.String("client_id", strings.Repeat("x", 60_000)))
	if out.Len() > 2*textMax {
		t.Errorf("a line of %d bytes", out.Len())
	}
}

// What is refused at the door is one line per listener, reason and network, and a
// minute later one that says how often it came again; what no line speaks for is told
// as a number.
func TestRefusalsAreAddedUp(t *testing.T) {
	l, out, _ := newLog()
	now := time.Unix(1000, 0)
	built := 0
	refuse := func(now time.Time, a netip.Addr, listener, what string) {
		l.Refused(now, slog.LevelWarn, "connection refused at the door", a, listener, what, func() []slog.Attr {
			built++
			return []slog.Attr{slog.String("limit", "limits."+what)}
		})
	}
	a := netip.MustParseAddr("203.0.113.7")
	for i := range 1000 {
		refuse(now, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), "mqtts", "connect_rate_per_prefix")
		refuse(now, a, "wss", "connect_rate_per_prefix")
		refuse(now, a, "mqtts", "handshakes_total")
	}
	if n := strings.Count(out.String(), "\n"); n != 3 || built != 3 {
		t.Fatalf("%d lines, %d were put together; want 3:\n%s", n, built, out)
	}
	out.Reset()
	l.Sweep(now.Add(Window))
	if n := strings.Count(out.String(), "times=999"); n != 3 {
		t.Errorf("%d lines say how often it came again:\n%s", n, out)
	}
	for _, want := range []string{"who=203.0.113.0/24", "what=connect_rate_per_prefix listener=mqtts limit=limits.connect_rate_per_prefix times", "listener=wss limit=limits.connect_rate_per_prefix times", "what=handshakes_total listener=mqtts limit=limits.handshakes_total times", "within=1m0s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not told: %s\n%s", want, out)
		}
	}
	out.Reset()
	now = now.Add(2 * Window)
	for i := range 5000 {
		refuse(now, netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), "mqtts", "connections_total")
	}
	out.Reset()
	l.Sweep(now.Add(Window))
	if !strings.Contains(out.String(), "about=strangers events=4900") {
		t.Errorf("what was left out is not told:\n%s", out)
	}
	out.Reset()
	if l.Sweep(now.Add(3 * Window)); out.Len() > 0 {
		t.Errorf("told twice:\n%s", out)
	}
	refuse(now.Add(3*Window), a, "mqtts", "connections_total")
	if n := testing.AllocsPerRun(100, func() { refuse(now.Add(3*Window), a, "mqtts", "connections_total") }); n != 0 {
		t.Errorf("a refusal that is only counted allocates %v times", n)
	}
}
