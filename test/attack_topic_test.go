package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// own is a topic of the second user, who attacks.
const own = "devices/" + other + "/"

// wildcardsOnly lets the second user at all that a wildcard can reach, which is
// nothing that begins with $; the first may read what the broker says of itself.
const wildcardsOnly = "  - {id: all, allow: all, users: [" + other + "], topics: [\"#\", \"$app/#\"]}\n" +
	"  - {id: watch, allow: subscribe, users: [" + user + "], topics: [\"$SYS/#\", \"$events/#\", \"$SYSx/#\", \"$x\", \"$app/#\"]}\n"

// TestTopicAttackRows are the rows about topic names and filters.
func TestTopicAttackRows(t *testing.T) {
	t.Parallel() // two at a time: most of it is waiting
	// Without the race detector, which has names and filters in TestTwoClientsAgainstAModel and TestAttacksByFilters.
	s := besiege(t, testkit.Options{Repeats: true, Rules: rulesOf(wildcardsOnly), Config: "limits: {publish_rate: {messages: 0, bytes: 0}, subscribe_rate: {filters: 0}}\n" +
		"mqtt: {sys_interval: 1s, exclusive_subscriptions: true}\n"})
	defer s.report(t)
	t.Run("A030", func(t *testing.T) { s.depths(t) })
	t.Run("A034", func(t *testing.T) { s.expressions(t) })
	t.Run("A035", func(t *testing.T) { s.dollars(t) })
	t.Run("A037", func(t *testing.T) { s.storm(t) })
	t.Run("A038", func(t *testing.T) { s.sysExposed(t) })
	t.Run("A042", func(t *testing.T) { s.oneTimeTopics(t) })
}

// deep is a topic of so many levels, two of which are the user's own.
func deep(levels int) string {
	if levels > 1000 { // as many as there is room for
		return own + strings.Repeat("/", levels-3)
	}
	return own + strings.Repeat("a/", levels-3) + "a"
}

// depths: more than limits.topic_levels are refused wherever a topic can stand,
// and exactly as many are not (A030, A031, A033).
func (s *siege) depths(t *testing.T) {
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(1, d, int(v))
		refused, id := 0, 0
		// each is told the topic and answers whether it was let through.
		for name, try := range map[string]func(w *wire, topic string) bool{
			"subscribe": func(w *wire, topic string) bool { return granted(w.ask(1, topic)) },
			"share":     func(w *wire, topic string) bool { return granted(w.ask(1, "$share/g/"+topic)) },
			"exclusive": func(w *wire, topic string) bool { return granted(w.ask(1, "$exclusive/"+topic)) },
			"publish":   func(w *wire, topic string) bool { return w.tell(topic, "x", 1) < 0x80 },
			"retain":    func(w *wire, topic string) bool { return w.tell(topic, "", 0, retained) < 0x80 },
			"delayed":   func(w *wire, topic string) bool { return w.tell("$delayed/1/"+topic, "x", 1) < 0x80 },
		} {
			for _, levels := range []int{10, 11, 101, 400, 65000} {
				id++
				w := s.come(t, d, v, from, fmt.Sprintf("deep-%d", id))
				ok := try(w, deep(levels))
				if ok != (levels == 10) {
					t.Errorf("%s with %d levels: let through %v", name, levels, ok)
				}
				if !ok && (v == mqtt.V31 || name == "publish" || name == "retain" || name == "delayed") {
					refused++ // and closed
					w.drain()
					continue
				}
				if n := w.drop(deep(levels)); n < 0 {
					t.Errorf("UNSUBSCRIBE of %d levels closed the connection", levels)
				}
				w.leave()
			}
		}
		for _, levels := range []int{10, 11, 101, 400, 65000} {
			w, code := s.knock(t, d, v, from, "will", func(c *mqtt.Connect) { c.Will = &mqtt.Will{Topic: deep(levels)} })
			if (code == 0) != (levels == 10) {
				t.Errorf("a will of %d levels: %v", levels, code)
			}
			if code != 0 {
				refused++
				w.drain()
			} else {
				w.leave()
			}
		}
		s.held(t, m, fmt.Sprintf("A030, A031, A033 levels %s %s", d.name, v), refused, closedFor("protocol_error", "connect_refused", "packet_too_large"), []string{"closed", "limits.topic_levels"}, from)
	})
}

// granted tells whether all filters were.
func granted(codes []mqtt.ReasonCode) bool {
	return codes != nil && !slices.ContainsFunc(codes, func(c mqtt.ReasonCode) bool { return c >= 0x80 })
}

// expressions: what would be an evil regular expression elsewhere costs what any
// other filter costs (A034).
func (s *siege) expressions(t *testing.T) {
	d := s.door("ws")
	m := s.mark(t)
	w := s.come(t, d, mqtt.V5, source(2, d, 0), "evil")
	before := s.cpu(t)
	for range 100 {
		if granted(w.ask(0, "((a+)+)+$")) {
			t.Error("a + within a level is granted")
		}
		if granted(w.ask(0, strings.Repeat("+/", 32_000)+"+")) {
			t.Error("32,001 wildcards are granted")
		}
	}
	for i := range 100 { // legal, and as hostile as it gets
		if !granted(w.ask(0, own+"(a*)*"+fmt.Sprint(i%10), own+"+/+/+/+/+/+/+")) {
			t.Error("legal filters are refused")
		}
		w.tell(own+strings.Repeat("a/", 7)+strings.Repeat("a", 900), "x", 1)
	}
	if used := s.cpu(t) - before; used > 3*time.Second {
		t.Errorf("400 requests took %v of processor", used)
	}
	w.leave()
	s.held(t, m, "A034 evil expressions", 0, nil, nil)
}

// dollarNames are the names of every list, of this broker and of others.
var dollarNames = []string{
	"$", "$/", "$x", "$SYS", "$SYSx", "$SYSx/a", "$SYS/broker/version", "$share/a/b", "$share", "$queue/x", "$oshare/g/x", "$exclusive/x",
	"$events/client/connected", "$CONTROL/broker/v1", "$CONTROL/dynamic-security/v1", "$SETOPTS/a", "$MQTT/JSA/x", "$MQTT/sub/x", "$LINK/a", "$delayed", "$delayed/",
	"$delayed/1", "$delayed/1/", "$delayed/0/a", "$delayed/-1/a", "$delayed/1/$delayed/1/a", "$delayed/99999999/a", "$delayed/1/$SYS/broker/version",
	"$delayed/1/$events/client/connected", "$delayed/1/$CONTROL/x", "$delayed/1/$x", "$redoubt/x", "$aws/things/x",
}

// dollars: what begins with $ is refused in PUBLISH, retained or not, and as a will,
// also to a client whose rule says "#"; what a rule spells out is not (A035, A039,
// A041, A105, A106).
func (s *siege) dollars(t *testing.T) {
	watch := s.come(t, s.door("mqtts"), mqtt.V5, source(3, s.doors[0], 31), "watch", asUser)
	if codes := watch.ask(1, "$SYSx/#", "$x", "$events/#", "$SYS/#", "$app/#"); !granted(codes) {
		t.Fatalf("the watcher: %v", codes)
	}
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(3, d, int(v))
		denials := 0
		id := "spoof-" + d.name + v.String() // what is said of a client is said once a minute
		w := s.come(t, d, v, from, id)
		for _, name := range dollarNames {
			for _, change := range []func(*mqtt.Publish){func(*mqtt.Publish) {}, retained} {
				denials++
				code := w.tell(name, "spoofed", 1, change)
				if code < 0x80 {
					t.Errorf("PUBLISH to %s: %v", name, code)
				}
				if code == closedCode {
					w = s.come(t, d, v, from, id)
				}
			}
			will, code := s.knock(t, d, v, from, "spoof-will", func(c *mqtt.Connect) {
				c.Will = &mqtt.Will{Topic: name, Payload: []byte("spoofed"), Retain: true}
			})
			if denials++; code == 0 {
				t.Errorf("a will for %s is accepted", name)
			}
			will.die()
		}
		for range 20 { // QoS 0 has no answer: it must go nowhere
			w.tell("$SYS/broker/version", "spoofed", 0, retained)
		}
		if code := w.tell("$app/x", "spelled out "+d.name+v.String(), 1); code >= 0x80 {
			t.Errorf("$app/x, which a rule names: %v", code)
		}
		for _, got := range watch.hear("spelled out "+d.name+v.String(), true) {
			if strings.Contains(got, "spoofed") {
				t.Errorf("the watcher heard %s", got)
			}
		}
		w.die()
		series := append(closedFor("protocol_error", "connect_refused"), "redoubt_publish_denied_total")
		counted := sum(s.counters(t), series) - sum(m.series, series)
		if counted < float64(denials) {
			t.Errorf("%v of %d refusals are counted", counted, denials)
		}
		s.held(t, m, fmt.Sprintf("A035, A039, A041 $ topics %s %s", d.name, v), int(counted), nil, []string{"publish denied"}, from)
	})
}

// storm: overlapping filters beyond the limit are refused, and what matches many
// of them comes once (A037, A081 at one client).
func (s *siege) storm(t *testing.T) {
	d := s.door("mqtt")
	m := s.mark(t)
	w := s.come(t, d, mqtt.V5, source(4, d, 0), "storm")
	const scale = 10 // of the list's 10^5
	accepted := 0
	for packet := range 100_000 / scale / 1000 {
		var names []string
		for i := range 1000 {
			names = append(names, overlapping(packet*1000+i))
		}
		for _, c := range w.ask(1, names...) {
			if c < 0x80 {
				accepted++
			} else if c != mqtt.QuotaExceeded {
				t.Fatalf("reason %v", c)
			}
		}
	}
	if accepted != 20 {
		t.Errorf("%d wildcard filters were granted, want limits.wildcard_subscriptions, 20", accepted)
	}
	for i := range 50 {
		w.send((&mqtt.Publish{Topic: []byte(own + "a/a/a/a/a/a/a"), Payload: fmt.Appendf(nil, "copy %d.", i)}).Append(nil, mqtt.V5))
		if more := w.hear(fmt.Sprintf("copy %d.", i), false); len(more) > 0 {
			t.Fatalf("more than one copy: %v", more)
		}
	}
	w.leave()
	s.held(t, m, fmt.Sprintf("A037 overlapping filters, 1/%d", scale), 0, nil, nil)
}

// overlapping is a filter that matches own+a/a/a/a/a/a/a for each of the first 128
// numbers; the rest are as many more.
func overlapping(n int) string {
	var b strings.Builder
	b.WriteString(own)
	for bit := range 7 {
		if bit > 0 {
			b.WriteByte('/')
		}
		if n>>bit&1 == 1 {
			b.WriteByte('+')
		} else {
			b.WriteByte('a')
		}
	}
	if n%128 == 0 || n >= 128 {
		return fmt.Sprintf("%s%d/#", own, n)
	}
	return b.String()
}

// sysExposed: a plain user sees nothing of what the broker says of itself, and one
// whose rule says "#" neither (A038).
func (s *siege) sysExposed(t *testing.T) {
	watch := s.come(t, s.door("mqtts"), mqtt.V5, source(5, s.doors[0], 31), "watch-sys", asUser)
	if !granted(watch.ask(0, "$SYS/broker/version")) {
		t.Fatal("the watcher may not")
	}
	if p, err := watch.publish(); err != nil || !strings.Contains(string(p.Body), "redoubt version") {
		t.Fatalf("$SYS/broker/version is %q: there is nothing to protect", p.Body)
	}
	filters := []string{"$SYS/#", "$SYS/broker/version", "$SYS/+/version", "$SYS", "$share/g/$SYS/#", "$exclusive/$SYS/#", "$events/#", "$events/client/connected", "$share/g/$events/+/+"}
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(5, d, int(v))
		id := "spy-" + d.name + v.String()
		w := s.come(t, d, v, from, id)
		for _, f := range filters {
			codes := w.ask(0, f)
			if granted(codes) {
				t.Errorf("%s is granted", f)
			}
			if codes == nil { // 3.1 has no word for it
				w = s.come(t, d, v, from, id)
			}
		}
		if !granted(w.ask(0, "#", "+/broker/version")) {
			t.Error("the attacker's own rule does not count")
		}
		w.tell(own+"mark", "mark "+d.name, 0)
		heard := w.hear("mark "+d.name, true)
		if d.name == "mqtt" { // once is enough: it takes two seconds
			heard = append(heard, s.while(t, w)...)
		}
		for _, got := range heard {
			if strings.HasPrefix(got, "$") {
				t.Errorf("heard %s", got)
			}
		}
		w.leave()
		s.held(t, m, fmt.Sprintf("A038 $SYS and $events %s %s", d.name, v), len(filters), []string{"redoubt_subscribe_denied_total"}, []string{"subscribe denied"}, from)
	})
}

// while is what w hears until the figures below $SYS were published twice more.
func (s *siege) while(t *testing.T, w *wire) []string {
	t.Helper()
	watch := s.come(t, s.door("mqtts"), mqtt.V5, source(5, s.doors[0], 30), "while", asUser)
	watch.ask(0, "$SYS/broker/uptime")
	for range 2 {
		if _, err := watch.publish(); err != nil {
			t.Fatal(err)
		}
	}
	watch.leave()
	w.tell(own+"mark", "later", 0)
	return w.hear("later", true)
}

// oneTimeTopics: names, filters and aliases that are used once leave nothing
// (A042).
func (s *siege) oneTimeTopics(t *testing.T) {
	const scale = 100
	d := s.door("mqtt")
	m := s.mark(t)
	before, had := s.live(t), s.counters(t)["redoubt_subscriptions"]
	w := s.stranger(t, d, mqtt.V5, source(6, d, 0))
	w.send(connectOf(mqtt.V5, "once", func(c *mqtt.Connect) { c.TopicAliasMaximum = 32 }))
	w.want(mqtt.CONNACK)
	long := strings.Repeat("x", 900)
	for n := range 1_000_000 / scale {
		p := mqtt.Publish{Topic: fmt.Appendf(nil, "%s%d/%s", own, n, long), Payload: []byte("1")}
		if n%2 == 1 {
			p.TopicAlias, p.HasTopicAlias = uint16(n%32+1), true
			p.Props = []byte{0x23, 0, byte(n%32 + 1)}
		}
		w.send(p.Append(nil, mqtt.V5))
	}
	for n := range 1_000_000 / scale / 20 {
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprintf("%s%d/%d/+/%s", own, n, i, long))
		}
		if !granted(w.ask(0, names...)) || w.drop(names...) != len(names) {
			t.Fatal("not granted, or not taken back")
		}
	}
	if now := s.counters(t)["redoubt_subscriptions"]; now != had {
		t.Errorf("%v subscriptions are held, before %v", now, had)
	}
	// 10,000 names of 900 bytes would be 9 MB.
	grown := s.live(t) - before
	if grown > 4<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
	w.leave()
	s.held(t, m, fmt.Sprintf("A042 one-time names, filters and aliases, 1/%d; heap %+d KiB", scale, grown>>10), 0, nil, nil)
}

// live is the heap that two collections found alive, bytes. What makes the broker
// collect are packets that nobody wants.
func (s *siege) live(t *testing.T) int64 {
	t.Helper()
	d := s.door("mqtt")
	w := s.come(t, d, mqtt.V5, source(50, d, 0), "garbage")
	defer w.die()
	packet := (&mqtt.Publish{Topic: []byte(own + "garbage"), Payload: make([]byte, 512<<10)}).Append(nil, mqtt.V5)
	cycles := s.counters(t)["go_gc_duration_seconds_count"]
	for s.counters(t)["go_gc_duration_seconds_count"] < cycles+2 {
		for range 8 {
			w.send(packet)
		}
		w.wantAlive()
	}
	return int64(s.counters(t)["redoubt_memory_live_bytes"])
}
