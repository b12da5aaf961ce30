package test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestRevocationMatrix takes a right away at every moment at which a message or a
// subscription of its owner waits somewhere in the broker, for rights by user, by
// client identifier and by address: nothing goes out any more, whatever waited
// (A045, A051, A053, A054, A055, A107, A111).
func TestRevocationMatrix(t *testing.T) {
	t.Parallel() // two at a time: most of it is waiting
	s := besiege(t, testkit.Options{})
	defer s.report(t)
	run := 0
	for _, kind := range []string{"user", "client", "address"} {
		for _, way := range []string{"kept", "gone", "denied"} {
			if way == "kept" && kind != "user" {
				continue // one control is enough
			}
			d, v := s.doors[run%4], mqtt.V5
			if run%3 == 2 {
				v = mqtt.V311
			}
			run++
			t.Run(kind+"_"+way, func(t *testing.T) {
				m := &matrix{siege: s, t: t, d: d, v: v, tag: kind + "-" + way, from: 20 + run, kept: way == "kept"}
				m.play(kind, way)
			})
		}
	}
	t.Run("another_address", func(t *testing.T) { s.elsewhere(t) })
}

// matrix is one way of taking one kind of right away.
type matrix struct {
	*siege
	t    *testing.T
	d    door
	v    mqtt.Version
	tag  string
	from int // row of the source address
	kept bool

	clients []string
	pub     *wire // of the first user, who keeps his rights
}

// grants are the rules, with the second user's right to m/# as kind and way say.
func (m *matrix) grants(kind, way string) []string {
	who := "users: [" + other + "]"
	switch kind {
	case "client":
		who += ", clients: [" + strings.Join(m.clients, ", ") + "]"
	case "address":
		who += fmt.Sprintf(", addresses: [\"%s/32\"]", source(m.from, m.d, 0))
	}
	lines := []string{"  - {allow: all, users: [" + user + "], topics: [\"m/#\", \"" + own + "fence/#\"]}\n"}
	if way == "denied" {
		lines = append(lines, "  - {id: cut, deny: all, "+who+", topics: [\"m/x/#\"]}\n")
	}
	if way != "gone" {
		lines = append(lines, "  - {id: right, allow: all, "+who+", topics: [\"m/#\"]}\n")
	}
	return lines
}

// in is a client of the second user.
func (m *matrix) in(name string, change ...func(*mqtt.Connect)) *wire {
	m.t.Helper()
	return m.come(m.t, m.d, m.v, source(m.from, m.d, 0), m.id(name), change...)
}

func (m *matrix) id(name string) string { return name + "-" + m.tag }

// topic is one that the denying rule covers.
func (m *matrix) topic(name string) string { return "m/x/" + m.tag + "/" + name }

func (m *matrix) fence() string { return own + "fence/" + m.tag }

// listener is a client that is subscribed to all of m/, and to what ends a wait.
func (m *matrix) listener(name string, qos mqtt.QoS) *wire {
	m.t.Helper()
	w := m.in(name, lasting)
	if !granted(w.ask(qos, "m/#", m.fence())) {
		m.t.Fatalf("%s: not granted", name)
	}
	return w
}

// signal replaces the rules without a process in between: what was armed to come in
// a second must not have come.
func (s *siege) signal(t *testing.T, lines ...string) {
	t.Helper()
	logged := s.b.Stderr.Len()
	testkit.WriteFile(t, s.b.Rules, rulesOf(lines...))
	s.b.Signal(syscall.SIGHUP)
	if line, ok := s.b.Stderr.WaitFor(patience, logged, "reload"); !ok || strings.Contains(line, "refused") {
		t.Fatalf("reload: %s", line)
	}
}

// want judges what somebody heard: all of it with the right, none without.
func (m *matrix) want(where string, got []string, want ...string) {
	m.t.Helper()
	var payloads []string
	for _, g := range got {
		_, payload, _ := strings.Cut(g, "=")
		payloads = append(payloads, payload)
	}
	if !m.kept {
		want = nil
	}
	if !slices.Equal(payloads, want) {
		m.t.Errorf("%s: heard %q, want %q", where, payloads, want)
	}
}

// play arms every state, takes the right away, and looks at each.
func (m *matrix) play(kind, way string) {
	t := m.t
	for _, name := range []string{"live", "queue", "unacked", "rel", "will", "wait", "shared", "delayed", "late", "late-will"} {
		m.clients = append(m.clients, m.id(name))
	}
	m.signal(t, m.grants(kind, "kept")...)
	before := m.mark(t)
	m.pub = m.come(t, m.siege.doors[0], mqtt.V5, source(m.from, m.siege.doors[0], 9), m.id("pub"), asUser)
	watch := m.come(t, m.siege.doors[0], mqtt.V5, source(m.from, m.siege.doors[0], 9), m.id("watch"), asUser)
	partner := m.come(t, m.siege.doors[0], mqtt.V5, source(m.from, m.siege.doors[0], 9), m.id("partner"), asUser)
	group := "$share/" + m.tag + "/m/+/" + m.tag + "/shared"

	live, queue, unacked := m.listener("live", 1), m.listener("queue", 1), m.listener("unacked", 2)
	queue.die()
	m.pub.tell(m.topic("first"), "first", 2)
	m.pub.release(79)
	live.hear("first", true)
	unacked.hear("first", false) // sent and not acknowledged
	unacked.die()
	shared := m.in("shared")
	if !granted(watch.ask(1, "m/x/"+m.tag+"/+")) || !granted(partner.ask(1, group)) || !granted(shared.ask(1, group, m.fence())) {
		t.Fatal("not granted")
	}
	m.pub.tell(m.topic("kept"), "retained", 1, retained)
	m.pub.tell(m.topic("queued"), "queued", 1)
	live.hear("queued", true)
	rel := m.in("rel")
	if code := rel.tell(m.topic("rel"), "rel", 2); code != 0 {
		t.Fatalf("PUBREC %v", code)
	}
	live.hear("rel", true)
	will := m.in("will", func(c *mqtt.Connect) { c.Will = &mqtt.Will{Topic: m.topic("will"), Payload: []byte("will")} })
	m.in("wait", lasting, func(c *mqtt.Connect) {
		c.Will = &mqtt.Will{Topic: m.topic("wait"), Payload: []byte("wait"), DelaySeconds: 1}
		if m.v != mqtt.V5 { // no delay there: it fires at once, and not after all
			c.Will = nil
		}
	}).die()
	delayed := m.in("delayed")
	if code := delayed.tell("$delayed/1/"+m.topic("delayed"), "delayed", 1); code >= 0x80 {
		t.Fatalf("PUBACK %v", code)
	}
	wait := 1300 * time.Millisecond
	if kind == "user" { // once is enough for wills, which come up to a second late
		wait = 2200 * time.Millisecond
	}
	due := time.After(wait)
	watch.tell(m.topic("armed"), "armed", 1)
	watch.hear("armed", true)
	live.hear("armed", true)

	m.signal(t, m.grants(kind, way)...)
	m.afterwards(kind, way, live, rel, shared, partner)
	will.die()
	<-due
	watch.tell(m.topic("end"), "end", 1)
	want := []string{"after", "shared 0", "shared 1", "shared 2", "shared 3", "late", "will", "wait", "delayed"}
	m.watched(watch.hear("end", true), want)
	if !m.kept { // when nothing is looked at twice any more
		m.pub.tell(m.topic("evening"), "evening", 1)
		m.pub.tell(m.fence(), "fence evening", 1)
		m.want("a live subscription, later", without(without(live.hear("fence evening", true), "fence late"), "fence later"))
	}
	m.resume()
	for _, w := range []*wire{m.pub, watch, partner, live, rel, shared, delayed} {
		w.die()
	}
	m.pub = m.come(t, m.siege.doors[0], mqtt.V5, source(m.from, m.siege.doors[0], 9), m.id("pub"), asUser)
	m.pub.tell(m.topic("kept"), "", 1, retained)
	m.pub.leave()
	for _, name := range []string{"live", "queue", "unacked", "wait"} {
		m.forget(t, m.d, m.v, source(m.from, m.d, 0), m.id(name))
	}
	series := []string{"redoubt_publish_denied_total", "redoubt_subscribe_denied_total", "redoubt_delivery_denied_total"}
	n := 0
	if !m.kept {
		now := m.counters(t)
		for _, name := range series {
			if now[name] == before.series[name] {
				t.Errorf("%s did not count", name)
			}
		}
		n = int(sum(now, series) - sum(before.series, series))
		if _, ok := m.b.Stderr.WaitFor(patience, before.log, "denied", source(m.from, m.d, 0).String()); !ok {
			t.Error("no denial is in the log with its address")
		}
	}
	m.held(t, before, fmt.Sprintf("A054, A055 rights by %s, %s; %s %s", kind, way, m.d.name, m.v), n, nil, nil)
}

// afterwards looks at who is connected.
func (m *matrix) afterwards(kind, way string, live, rel, shared, partner *wire) {
	t := m.t
	m.pub.tell(m.topic("after"), "after", 1)
	for i := range 4 {
		m.pub.tell(m.topic("shared"), fmt.Sprint("shared ", i), 1)
	}
	m.pub.tell(m.fence(), "fence", 1)
	m.want("a live subscription", live.hear("fence", true), "after", "shared 0", "shared 1", "shared 2", "shared 3")
	mine := shared.hear("fence", true)
	if m.kept && len(mine) != 2 || !m.kept && len(mine) != 0 {
		t.Errorf("the shared subscription's member heard %q", mine)
	}
	if !m.kept {
		partner.hear("shared 3", true) // what the other may not have goes to him
	}

	// A QoS 2 message that was acknowledged with PUBREC was routed then: PUBREL sends
	// nothing (again), and the next one is judged.
	if code := rel.release(79); code != 0 {
		t.Errorf("PUBCOMP %v", code)
	}
	if code := rel.tell(m.topic("late"), "late", 2); (code < 0x80) != m.kept {
		t.Errorf("PUBLISH after: %v", code)
	}

	late, code := m.knock(t, m.d, m.v, source(m.from, m.d, 0), m.id("late"))
	if code != 0 {
		t.Fatalf("the user himself is known: %v", code)
	}
	exact, wide := granted(late.ask(1, m.topic("kept"))), granted(late.ask(1, "m/#", m.fence()))
	if exact != m.kept || wide != (way != "gone") {
		t.Errorf("SUBSCRIBE after: the denied topic %v, all of it %v", exact, wide)
	}
	m.pub.tell(m.fence(), "fence late", 1)
	if way == "gone" {
		late.ask(1, m.fence())
	}
	if !m.kept {
		m.pub.tell(m.fence(), "fence later", 1)
		m.want("the retained message", without(late.hear("fence later", true), "fence late"))
	} else if got := late.hear("fence late", true); len(got) == 0 {
		t.Error("the retained message did not come with the right")
	}
	late.die()
	_, code = m.knock(t, m.d, m.v, source(m.from, m.d, 0), m.id("late-will"), func(c *mqtt.Connect) { c.Will = &mqtt.Will{Topic: m.topic("late-will")} })
	if (code == 0) != m.kept {
		t.Errorf("CONNECT with a will after: %v", code)
	}
}

func without(got []string, payload string) []string {
	return slices.DeleteFunc(got, func(g string) bool { return strings.HasSuffix(g, "="+payload) })
}

// watched judges what went out in the second user's name, heard by the first.
func (m *matrix) watched(got, want []string) {
	m.t.Helper()
	var payloads []string
	for _, g := range got {
		_, payload, _ := strings.Cut(g, "=")
		payloads = append(payloads, payload)
	}
	for _, w := range want {
		mine := w == "after" || strings.HasPrefix(w, "shared") // of the first user
		if w == "wait" && m.v != mqtt.V5 {
			continue
		}
		if n := count(payloads, w); n > 1 || (n == 1) != (mine || m.kept) {
			m.t.Errorf("the watcher heard %q %d times: %q", w, n, payloads)
		}
	}
}

func count(list []string, s string) (n int) {
	for _, e := range list {
		if e == s {
			n++
		}
	}
	return n
}

// resume looks at the sessions that were away.
func (m *matrix) resume() {
	queue := m.in("queue", lasting)
	waited := []string{"first", "retained", "queued", "rel", "armed", "after", "shared 0", "shared 1", "shared 2", "shared 3", "late", "will", "wait", "delayed", "end"}
	heard := without(without(queue.hear("fence", true), "fence late"), "fence later")
	if m.kept {
		for _, w := range waited[:6] {
			if !slices.ContainsFunc(heard, func(g string) bool { return strings.HasSuffix(g, "="+w) }) {
				m.t.Errorf("the queue has lost %q: %q", w, heard)
			}
		}
	} else {
		m.want("the queue", heard)
	}
	queue.die()
	unacked := m.in("unacked", lasting)
	heard = unacked.hear("fence", true)
	if m.kept != (len(heard) > 0 && strings.HasSuffix(heard[0], "=first")) || !m.kept && len(heard) > 0 {
		m.t.Errorf("what was sent and not acknowledged: heard %q", heard)
	}
	unacked.die()
}

// elsewhere resumes a session from an address that has no right: what waited is not
// delivered, without any change of the rules (A046, A053).
func (s *siege) elsewhere(t *testing.T) {
	d := s.door("ws")
	here, there := source(40, d, 0), source(41, d, 0)
	s.signal(t, "  - {allow: all, users: ["+other+"], addresses: [\""+here.String()+"/32\"], topics: [\"m/#\"]}\n",
		"  - {allow: all, users: ["+user+"], topics: [\"m/#\"]}\n")
	m := s.mark(t)
	w := s.come(t, d, mqtt.V5, here, "moving", lasting)
	if !granted(w.ask(1, "m/#", own+"fence")) {
		t.Fatal("not granted")
	}
	w.die()
	pub := s.come(t, d, mqtt.V5, here, "pub-moving", asUser)
	pub.tell("m/private", "private", 1)
	pub.leave()
	w = s.come(t, d, mqtt.V5, there, "moving", lasting)
	w.tell(own+"fence", "fence", 1)
	if got := w.hear("fence", true); len(got) > 0 {
		t.Errorf("heard %q", got)
	}
	s.forget(t, d, mqtt.V5, there, "moving")
	w.die()
	s.held(t, m, "A046 resumed from an address without the right", 1, []string{"redoubt_subscribe_denied_total"}, []string{"subscribe denied"}, there)
}
