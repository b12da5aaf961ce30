package test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// rateRows are about how often: a client over a rate is slowed, or refused, with the right
// reason; it is changed while the client lives; and somebody who knows a victim's names
// cannot use the victim's rates up.
func (s *siege) rateRows(t *testing.T) {
	t.Run("live", func(t *testing.T) { s.liveRate(t) })
	t.Run("A081", func(t *testing.T) { s.filterRate(t) })
	t.Run("A082", func(t *testing.T) { s.retainedRate(t) })
	t.Run("connects", func(t *testing.T) { s.connectRate(t) })
	t.Run("total", func(t *testing.T) { s.shareTotal(t) })
}

// set changes a setting of the running broker until the row is over.
func (s *siege) set(t *testing.T, key, value string) {
	t.Helper()
	must(t, s.b, "config", "set", key, value)
	t.Cleanup(func() { must(t, s.b, "config", "unset", key) })
}

// pausedBy is what the operator is told of why a client is not read.
func (s *siege) pausedBy(t *testing.T, clientID string) (by, key string, spent int64) {
	t.Helper()
	var c struct {
		PausedBy    []string `json:"paused_by"`
		PausedLimit string   `json:"paused_limit"`
		Rates       []struct{ Spent int64 }
	}
	if err := json.Unmarshal([]byte(must(t, s.b, "clients", "show", clientID, "--identity", other, "-o", "json")), &c); err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Rates {
		spent = max(spent, r.Spent)
	}
	return strings.Join(c.PausedBy, " "), c.PausedLimit, spent
}

// pour publishes ten thousand a second until the connection closes.
func (w *wire) pour(topic string) {
	packet := (&mqtt.Publish{Topic: []byte(topic), Payload: []byte("more")}).Append(nil, w.v)
	var many []byte
	for range 500 {
		many = append(many, packet...)
	}
	go func() {
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for ; ; <-pace.C {
			if _, err := w.conn.Write(many); err != nil {
				return
			}
		}
	}()
}

// liveRate gives a door a rate under a flood, and takes it off again.
func (s *siege) liveRate(t *testing.T) {
	m := s.mark(t)
	d := s.door("mqtt")
	w := s.come(t, d, mqtt.V5, source(13, d, 0), "flood")
	other := s.come(t, s.door("ws"), mqtt.V5, source(13, d, 1), "calm")
	w.pour(own + "flood")
	received := func() float64 { return s.counters(t)[`redoubt_messages_received_total{qos="0"}`] }
	const key = "listeners.mqtt.limits.publish_rate"
	s.set(t, key+".messages", "10")
	if !within(2*time.Second, func() bool {
		by, limit, _ := s.pausedBy(t, "flood")
		return strings.Contains(by, "publish_rate") && limit == key
	}) {
		t.Error("a rate does not hold for a live client after 2 s")
	}
	before := received()
	<-s.second()
	if n := received() - before; n > 50 {
		t.Errorf("%v messages in about 1.2 s at 10 a second", n)
	}
	other.wantAlive()
	must(t, s.b, "config", "set", key+".messages", "0")
	before = received()
	if !within(2*time.Second, func() bool { return received()-before > 3000 }) {
		t.Error("a limit that was taken off holds for a live client after 2 s")
	}
	w.die()
	other.leave()
	s.held(t, m, "a rate that changes under a flood", 0, nil, []string{"over a rate"}, source(13, d, 0))
}

// filterRate: who subscribes without end waits, in every version; the first hundred, which
// are all it may have, do not (A081).
func (s *siege) filterRate(t *testing.T) {
	m := s.mark(t)
	s.set(t, "listeners.mqtt.limits.subscribe_rate.filters", "20")
	s.set(t, "listeners.wss.limits.subscribe_rate.filters", "20")
	var names []mqtt.Subscription
	for i := range 100 {
		names = append(names, mqtt.Subscription{Filter: fmt.Sprint(own, i)})
	}
	doors := map[mqtt.Version]door{mqtt.V5: s.door("mqtt"), mqtt.V311: s.door("wss")}
	victims, floods := map[mqtt.Version]*wire{}, map[mqtt.Version]*wire{}
	for v, d := range doors {
		victims[v] = s.come(t, d, v, source(14, d, 1), "same-"+d.name, asUser)
		floods[v] = s.come(t, d, v, source(14, d, 0), "same-"+d.name)
	}
	begun := time.Now()
	for v, w := range floods {
		packet := (&mqtt.Subscribe{PacketID: 1, Filters: names}).Append(nil, v, 0)
		w.send(packet)
		w.want(mqtt.SUBACK)
		w.send((&mqtt.Subscribe{PacketID: 1, Filters: names[:60]}).Append(nil, v, 0))
		w.send((&mqtt.Unsubscribe{PacketID: 2, Filters: []string{"x"}}).Append(nil, v, 0))
		w.want(mqtt.SUBACK)
	}
	if first := time.Since(begun); first > 2*time.Second {
		t.Errorf("the first hundred took %v", first)
	}
	for v, w := range floods {
		d := doors[v]
		key := "listeners." + d.name + ".limits.subscribe_rate"
		if by, limit, spent := s.pausedBy(t, "same-"+d.name); time.Since(begun) < 2*time.Second && (by != "subscribe_rate" || limit != key || spent < 50) {
			t.Errorf("%s: paused by %q, %q, %d spent", d.name, by, limit, spent)
		}
		victims[v].wantAlive() // who has the same client identifier, and is somebody else
		victims[v].leave()
		w.want(mqtt.UNSUBACK)
		if all := time.Since(begun); all < 2500*time.Millisecond {
			t.Errorf("%s: 161 filters at 20 a second and 100 at once took %v", d.name, all)
		}
		w.die()
	}
	s.held(t, m, "A081 filters at a rate", 0, nil, nil)
	if n := s.counters(t)[`redoubt_rates_exceeded_total{limit="subscribe_rate"}`]; n < 2 {
		t.Errorf("counted %v times", n)
	}
}

// retainedRate: ten bytes that ask for everything bring no more than the rate (A082).
func (s *siege) retainedRate(t *testing.T) {
	m, d := s.mark(t), s.door("mqtt")
	s.set(t, "limits.retained_rate.messages", "20") // and a burst of 200
	pub := s.come(t, d, mqtt.V5, source(15, d, 0), "pub-kept")
	pub.tellMany(200, 1, named("kept/", "x"), retained)
	w := s.come(t, s.door("wss"), mqtt.V5, source(15, d, 1), "again-kept")
	packet := (&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: own + "kept/#"}}}).Append(nil, mqtt.V5, 0)
	sent := func() float64 { return s.counters(t)[`redoubt_messages_sent_total{qos="0"}`] }
	before, begun := sent(), time.Now()
	go func() { _, _ = io.Copy(io.Discard, w.conn) }()
	for range 40 { // each time it has all of them, it asks again
		if _, err := w.conn.Write(packet); err != nil {
			t.Fatal(err)
		}
		<-time.After(25 * time.Millisecond)
	}
	if n, most := sent()-before, 200+20*time.Since(begun).Seconds()+64; n > most {
		t.Errorf("%v retained messages were sent, want %v at most", n, most)
	}
	w.die()
	pub.tellMany(200, 1, named("kept/", ""), retained)
	pub.leave()
	s.held(t, m, "A082 retained messages at a rate", 0, nil, nil)
}

// connectRate: a client that connects without end is told so; who only says a victim's
// names, with a wrong password or as somebody else, takes nothing from the victim.
func (s *siege) connectRate(t *testing.T) {
	m, refused := s.mark(t), 0
	s.set(t, "limits.client_connect_rate.connects", "1") // and a burst of 10
	for i, v := range []mqtt.Version{mqtt.V5, mqtt.V311} {
		d := s.doors[i]
		id := fmt.Sprint("pump-", i)
		want := mqtt.ConnectionRateExceeded
		if v != mqtt.V5 {
			want = 3
		}
		got := map[mqtt.ReasonCode]int{}
		for range 18 {
			w, code := s.knock(t, d, v, source(16, d, 0), id)
			got[code]++
			w.die()
		}
		refused += got[want]
		if got[want] < 4 || got[0] < 10 || got[want]+got[0] != 18 {
			t.Errorf("18 connects at 1 a second and 10 at once: %v", got)
		}
		for range 12 {
			w, code := s.knock(t, d, v, source(16, d, 1), id, asUser, func(c *mqtt.Connect) { c.Password = []byte("wrong") })
			if code == 0 || code == want {
				t.Errorf("a wrong password: %v", code)
			}
			w.die()
		}
		w, code := s.knock(t, d, v, source(16, d, 1), id, asUser)
		if code != 0 {
			t.Errorf("the victim is refused with %v", code)
		}
		w.die()
	}
	s.held(t, m, "connects at a rate", refused, []string{`redoubt_rates_exceeded_total{limit="connect_rate"}`}, nil)
}

// shareTotal: over the total of the node whoever sends most waits, and who sends little
// does not.
func (s *siege) shareTotal(t *testing.T) {
	m, d := s.mark(t), s.door("mqtt")
	s.set(t, "limits.publish_rate_total.messages", "400")
	floods := []*wire{s.come(t, d, mqtt.V5, source(17, d, 0), "flood-0"), s.come(t, s.door("wss"), mqtt.V311, source(17, d, 1), "flood-1")}
	for _, w := range floods {
		w.pour(own + "total")
	}
	if !soon(func() bool {
		by, key, _ := s.pausedBy(t, "flood-0")
		return by == "publish_rate_total" && key == "limits.publish_rate_total"
	}) {
		t.Error("a flood is not paused by the total")
	}
	s.steady.look(t)
	<-s.second()
	if gap := s.steady.look(t); gap > time.Second {
		t.Errorf("who sends 20 a second waited %v beside two floods", gap)
	}
	for _, w := range floods {
		w.die()
	}
	s.held(t, m, "the total of the node, shared", 0, nil, nil)
}
