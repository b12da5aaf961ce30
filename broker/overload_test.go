package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

func withAccount(s *Settings) { s.Session.Account = session.NewAccount(1 << 30) }

// Under pressure nobody gets a new session, and whoever has one comes back to it, also
// with a clean start.
func TestBusyRefusesNewSessionsOnly(t *testing.T) {
	d := newDesk(t, 1, withAccount)
	known := d.sit(0, "known")
	known.h().Gone(d.now, known.ref)
	d.b.Press(load.Strangers, &Short{Of: load.OfStore, Why: "the store is too slow"})
	by, c := principal("new"), &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 9, SessionExpiry: 9}
	_, e := d.homes[0].Open(d.now, &Arrival{Conn: ConnRef{Slot: 50, Gen: 1}, Connect: c, By: by})
	if e == nil || e.Reason != mqtt.ServerBusy || e.Detail != "the store is too slow" {
		t.Errorf("a new session: %v", e)
	}
	if n := d.metrics.Value(metrics.OverloadRefused.At(int(load.OfStore))); n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
	d.sit(0, "known")
	d.sit(0, "known", func(_ *auth.Principal, c *mqtt.Connect) { c.CleanStart = true })
	d.b.Press(load.Fine, nil)
	d.sit(0, "new")
}

// What v3 clients are told is that the server is unavailable.
func TestBusyInVersion3(t *testing.T) {
	if b := Refusal(mqtt.V311, mqtt.ServerBusy, 0, 0); !slices.Equal(b, []byte{0x20, 2, 0, 3}) {
		t.Errorf("% x", b)
	}
}

// behindBy is a subscriber whose socket takes nothing, with some messages waiting.
func behindBy(d *desk, home int, user string, bytes int, q mqtt.QoS, expiry uint32) seat {
	s := d.sit(home, user, func(_ *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = expiry })
	s.subscribe("open/"+user, q)
	d.wires[home].full[s.conn] = true
	pub := d.sit(home, "pub-"+user)
	for range 5 {
		pub.publish("open/"+user, string(make([]byte, bytes/4)), q, 1)
		pub.take()
	}
	return s
}

// shed runs a pass to its end.
func (d *desk) shed(s Shed) (w Weights, closed int) {
	d.t.Helper()
	done := false
	s.Done = func(of *Weights, n int) { w, closed, done = *of, n, true }
	d.homes[0].Shed(d.now, s)
	for range 100 {
		d.homes[0].Turn(d.now)
	}
	if !done {
		d.t.Fatal("the pass does not end")
	}
	return w, closed
}

// Level by level, and nobody before his turn.
func TestShedByClass(t *testing.T) {
	d := newDesk(t, 1, withAccount)
	d.wires[0].holds = map[ConnRef]Holding{}
	hold := func(s seat, bytes int64, silent time.Duration) seat {
		d.wires[0].holds[s.conn] = Holding{In: bytes, Silent: silent}
		return s
	}
	zero := behindBy(d, 0, "zero", 200<<10, 0, 0)
	small := behindBy(d, 0, "small", 8<<10, 1, 0)
	large := behindBy(d, 0, "large", 800<<10, 1, 0)
	larger := behindBy(d, 0, "larger", 3200<<10, 1, 100)
	idle := hold(d.sit(0, "idle"), 300<<10, time.Minute)
	idler := hold(d.sit(0, "idler"), 900<<10, time.Minute)
	quiet := hold(d.sit(0, "quiet"), 12<<10, time.Minute) // what TLS costs
	busy := hold(d.sit(0, "busy"), 900<<10, time.Second)  // in the middle of a packet
	closed := func() (names []string) {
		for _, x := range []struct {
			name string
			s    seat
		}{{"zero", zero}, {"small", small}, {"large", large}, {"larger", larger}, {"idle", idle}, {"idler", idler}, {"quiet", quiet}, {"busy", busy}} {
			if rc, gone := d.wires[0].closed[x.s.conn]; gone {
				names = append(names, fmt.Sprintf("%s %#x", x.name, byte(rc)))
			}
		}
		return names
	}
	for _, step := range []struct {
		level     load.Level
		excess    int64 // 0: only weigh
		want      []string
		qos0, q12 int64
	}{
		{load.Strangers, 1 << 30, nil, 0, 0},
		{load.QoS0, 1 << 30, nil, 4, 0},
		{load.Idle, 600 << 10, []string{"idler 0x89"}, 4, 0},
		{load.Idle, 1 << 30, []string{"idle 0x89", "idler 0x89"}, 4, 0},
		{load.Lagging, 2 << 20, []string{"larger 0x97", "idle 0x89", "idler 0x89"}, 4, 0},
		{load.Lagging, 1 << 30, []string{"large 0x97", "larger 0x97", "idle 0x89", "idler 0x89"}, 4, 0},
	} {
		w, n := d.shed(Shed{Level: step.level})
		if n != 0 {
			t.Errorf("%v: weighing closed %d", step.level, n)
		}
		d.shed(Shed{Level: step.level, Cut: w.Cut(step.excess), Left: step.excess})
		if got := closed(); !slices.Equal(got, step.want) {
			t.Errorf("%v, %d KiB too much: closed %v, want %v", step.level, step.excess>>10, got, step.want)
		}
		if n := d.metrics.Value(metrics.MessagesDroppedOverload); n != step.qos0 {
			t.Errorf("%v: %d messages dropped, want %d", step.level, n, step.qos0)
		}
	}
	if a, b := d.metrics.Value(metrics.OverloadClosedIdle), d.metrics.Value(metrics.OverloadClosedLagging); a != 2 || b != 2 {
		t.Errorf("%d idle and %d lagging are counted, want two each", a, b)
	}
	if r := d.homes[0].at(larger.ref); r == nil || r.s.Online() {
		t.Error("the session with an expiry has gone with its connection")
	}
	if r := d.homes[0].at(large.ref); r != nil {
		t.Error("the clean session is still there")
	}
}

// A home with many sessions is gone through in steps.
func TestShedGoesInSteps(t *testing.T) {
	d := newDesk(t, 1, withAccount)
	for i := range 3 * shedEffort {
		d.sit(0, fmt.Sprint("u", i))
	}
	done := false
	d.homes[0].Shed(d.now, Shed{Level: load.Lagging, Done: func(*Weights, int) { done = true }})
	for turns := 1; ; turns++ {
		if done && turns < 3 || turns > 10 {
			t.Fatalf("done %v after %d turns", done, turns)
		}
		if done {
			break
		}
		if d.wires[0].asked == 0 {
			t.Fatal("no turn is asked for")
		}
		d.wires[0].asked = 0
		d.homes[0].Turn(d.now)
	}
}

// A second pass takes the place of the first, which is told.
func TestShedAnswersEveryPass(t *testing.T) {
	d := newDesk(t, 1, withAccount)
	for i := range 2 * shedEffort {
		d.sit(0, fmt.Sprint("u", i))
	}
	n := 0
	for range 3 {
		d.homes[0].Shed(d.now, Shed{Level: load.Lagging, Done: func(*Weights, int) { n++ }})
	}
	for range 5 {
		d.homes[0].Turn(d.now)
	}
	if n != 3 {
		t.Errorf("%d of 3 passes were answered", n)
	}
}

func TestWeightsCut(t *testing.T) {
	var w Weights
	w[14], w[20], w[24] = 100<<14, 10<<20, 1<<24
	for _, c := range []struct{ bytes, cut, above int64 }{
		{1, 1 << 24, 1 << 24}, {1 << 24, 1 << 24, 1 << 24}, {1<<24 + 1, 1 << 20, 1<<24 + 10<<20},
		{1 << 40, VictimLeast, 1<<24 + 10<<20 + 100<<14},
	} {
		cut := w.Cut(c.bytes)
		if cut != c.cut || w.Above(cut) != c.above {
			t.Errorf("%d bytes: from %d on, which is %d; want %d, %d", c.bytes, cut, w.Above(cut), c.cut, c.above)
		}
	}
}

// Past what a home may take in, publishers wait and nothing is dropped; it asks for a
// look before that.
func TestIntakeIsBounded(t *testing.T) {
	d := newDesk(t, 1, withAccount)
	looks := 0
	d.b.LookSoon(func() { looks++ })
	pub, sub := d.sit(0, "pub"), d.sit(0, "sub")
	sub.subscribe("open/x", 1)
	h := d.homes[0]
	h.Allow(10 << 10)
	send := func() {
		pub.publish("open/x", string(make([]byte, 1000)), 1, 1)
		d.turn()
	}
	for i := range 7 {
		if send(); d.wires[0].paused[pub.conn] {
			t.Fatalf("paused after %d of 10 KiB", i+1)
		}
	}
	if looks != 1 {
		t.Errorf("%d looks were asked for, want one", looks)
	}
	send()
	send()
	if !d.wires[0].paused[pub.conn] || d.metrics.Value(metrics.OverloadPauses) == 0 {
		t.Error("the publisher is read on")
	}
	if n := len(sub.payloads()); n != 9 {
		t.Errorf("%d of 9 messages came", n)
	}
	if h.Taken() < 9000 {
		t.Errorf("%d bytes are counted", h.Taken())
	}
	delete(d.wires[0].paused, pub.conn)
	h.Allow(Boundless)
	if send(); d.wires[0].paused[pub.conn] {
		t.Error("paused with a boundless allowance")
	}
}

// At the last level who brings much waits longer than who brings little.
func TestPublishersWaitByWhatTheyBring(t *testing.T) {
	d := newDesk(t, 1, withAccount)
	h, o := d.homes[0], &d.b.overload
	if o.pause(1<<20) != pauseShort {
		t.Error("a long pause before the last level")
	}
	d.b.Press(load.Lagging, nil)
	for _, c := range []struct {
		bytes int64
		want  time.Duration
	}{{1, pauseShort}, {pauseBytes / 2, pauseLong / 2}, {pauseBytes, pauseLong}, {1 << 40, pauseLong}} {
		if got := o.pause(c.bytes); got != c.want {
			t.Errorf("%d bytes: %v, want %v", c.bytes, got, c.want)
		}
	}
	a, b := d.sit(0, "a"), d.sit(0, "b")
	h.Allow(0)
	for i := range 3 { // of one read
		if a.publish("open/x", string(make([]byte, 1000)), 0, 0); h.work.intake.run < int64(i+1)*1000 {
			t.Errorf("after %d messages of one turn %d bytes are counted", i+1, h.work.intake.run)
		}
	}
	if b.publish("open/x", "x", 0, 0); h.work.intake.run > 500 {
		t.Errorf("%d bytes of others are counted", h.work.intake.run)
	}
}

// What would wait in memory for long is refused, not taken and lost.
func TestDelayedMessagesAreRefusedUnderPressure(t *testing.T) {
	d := newDesk(t, 1, withAccount, func(s *Settings) { s.DelayMax = 100 })
	d.b.delayed.SetMax(delay.Limits{Messages: 10, Bytes: 1 << 20, OwnerMessages: 10, OwnerBytes: 1 << 20})
	pub := d.sit(0, "a")
	ask := func() mqtt.ReasonCode {
		pub.publish("$delayed/5/open/x", "x", 1, 1)
		for _, o := range pub.take() {
			if o.Kind == session.OutAck {
				return o.Reason
			}
		}
		return 0xFF
	}
	if rc := ask(); rc >= 0x80 {
		t.Fatalf("%v before", rc)
	}
	d.b.Press(load.QoS0, nil)
	if rc := ask(); rc != mqtt.QuotaExceeded {
		t.Errorf("%v under pressure", rc)
	}
	if n := d.metrics.Value(metrics.DelayedRefused); n != 1 {
		t.Errorf("%d are counted", n)
	}
}
