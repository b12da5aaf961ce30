package test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// This file is what the rows about topics, sessions, rights and queues are written
// in: a client of either user at any door and of any version, and what it says and
// hears.

// gapMax is the longest the bystander may wait. The list says one second; two busy
// cores and the race detector get another.
const gapMax = 2 * time.Second

// held is survived, with the bystander's gap judged.
func (s *siege) held(t *testing.T, m mark, what string, want int, series []string, said []string, from ...net.IP) {
	t.Helper()
	s.survived(t, m, what, want, series, said, from...)
	if s.gap > gapMax {
		t.Errorf("the bystander waited %v", s.gap)
	}
}

// rulesOf puts lines into a rules file, behind what every siege has: each user has
// its own devices.
func rulesOf(lines ...string) string {
	return "version: 1\nrules:\n" + strings.Join(lines, "") + "  - {id: own, allow: all, topics: [\"devices/${username}/#\"]}\n"
}

// ruled replaces the rules of the running broker.
func (s *siege) ruled(t *testing.T, lines ...string) {
	t.Helper()
	testkit.WriteFile(t, s.b.Rules, rulesOf(lines...))
	if r := s.b.Redoubt("", "reload"); r.Code != 0 {
		t.Fatalf("reload: exit code %d\n%s", r.Code, r.Text())
	}
}

// door is one by name.
func (s *siege) door(name string) door {
	i := slices.IndexFunc(s.doors, func(d door) bool { return d.name == name })
	return s.doors[i]
}

// asUser makes a CONNECT that of the first user.
func asUser(c *mqtt.Connect) { c.Username, c.Password = user, []byte(password) }

// lasting makes the session outlive its connection.
func lasting(c *mqtt.Connect) { c.CleanStart, c.SessionExpiry = false, 3600 }

// knock sends a CONNECT and answers CONNACK's reason code or return code; closed
// without one is 0xff.
func (s *siege) knock(t testing.TB, d door, v mqtt.Version, from net.IP, clientID string, change ...func(*mqtt.Connect)) (*wire, mqtt.ReasonCode) {
	t.Helper()
	w := s.stranger(t, d, v, from)
	w.send(connectOf(v, clientID, func(c *mqtt.Connect) {
		for _, f := range change {
			f(c)
		}
	}))
	p, err := w.next()
	if err != nil || p.Type != mqtt.CONNACK {
		return w, 0xff
	}
	return w, mqtt.ReasonCode(p.Body[1])
}

// come connects and must be let in.
func (s *siege) come(t testing.TB, d door, v mqtt.Version, from net.IP, clientID string, change ...func(*mqtt.Connect)) *wire {
	t.Helper()
	w, code := s.knock(t, d, v, from, clientID, change...)
	if code != 0 {
		t.Fatalf("%s at %s: CONNACK %v", clientID, d.name, code)
	}
	return w
}

// leave says goodbye and waits until the broker has closed.
func (w *wire) leave() {
	w.t.Helper()
	w.send((&mqtt.Disconnect{}).Append(nil, w.v, 0))
	w.drain()
}

// drain reads to the end of the connection.
func (w *wire) drain() {
	w.t.Helper()
	for {
		if _, err := w.next(); errors.Is(err, errClosed) {
			_ = w.conn.Close()
			return
		} else if err != nil {
			w.t.Fatalf("not closed: %v", err)
		}
	}
}

// die ends the connection without DISCONNECT.
func (w *wire) die() { _ = w.conn.Close() }

var unlimited = mqtt.Limits{UserProperties: -1}

// ask subscribes and answers the reason code of each filter; nil when the
// connection was closed for it. Publishes that come before are put aside.
func (w *wire) ask(qos mqtt.QoS, names ...string) []mqtt.ReasonCode {
	w.t.Helper()
	var list []mqtt.Subscription
	for _, n := range names {
		list = append(list, mqtt.Subscription{Filter: n, QoS: qos})
	}
	w.send((&mqtt.Subscribe{PacketID: 77, Filters: list}).Append(nil, w.v, 0))
	p, ok := w.skipTo(mqtt.SUBACK)
	if !ok {
		return nil
	}
	var ack mqtt.Suback
	if err := mqtt.DecodeSuback(p.Body, p.Header, w.v, unlimited, &ack); err != nil {
		w.t.Fatal(err)
	}
	return ack.Reasons
}

// drop unsubscribes and answers how many reason codes came; -1 when closed.
func (w *wire) drop(names ...string) int {
	w.t.Helper()
	w.send((&mqtt.Unsubscribe{PacketID: 78, Filters: names}).Append(nil, w.v, 0))
	p, ok := w.skipTo(mqtt.UNSUBACK)
	if !ok {
		return -1
	}
	var ack mqtt.Unsuback
	if err := mqtt.DecodeUnsuback(p.Body, p.Header, w.v, unlimited, &ack); err != nil {
		w.t.Fatal(err)
	}
	return len(ack.Reasons)
}

// skipTo reads up to a packet of this type; ok is false when the connection ended.
func (w *wire) skipTo(typ mqtt.Type) (packet, bool) {
	w.t.Helper()
	for {
		p, err := w.next()
		switch {
		case errors.Is(err, errClosed):
			return packet{}, false
		case err != nil:
			w.t.Fatalf("waiting for %v: %v", typ, err)
		case p.Type == typ:
			return p, true
		case p.Type == mqtt.DISCONNECT:
			w.farewell = p.Body
		case p.Type == mqtt.PUBLISH:
			w.aside = append(w.aside, p)
		case p.Type == mqtt.PUBREL:
			w.complete(p)
		}
	}
}

// complete answers PUBREL.
func (w *wire) complete(p packet) {
	w.t.Helper()
	id := uint16(p.Body[0])<<8 | uint16(p.Body[1])
	w.send((&mqtt.Ack{Type: mqtt.PUBCOMP, PacketID: id}).Append(nil, w.v, 0))
}

// why is the reason of the DISCONNECT that came in place of an answer, as hex.
func (w *wire) why() string { return fmt.Sprintf("%x", w.farewell) }

// publish is the next PUBLISH, first of those put aside.
func (w *wire) publish() (packet, error) {
	if len(w.aside) > 0 {
		p := w.aside[0]
		w.aside = w.aside[1:]
		return p, nil
	}
	for {
		p, err := w.next()
		switch {
		case err != nil || p.Type == mqtt.PUBLISH:
			return p, err
		case p.Type == mqtt.DISCONNECT:
			return p, fmt.Errorf("DISCONNECT % x", p.Body)
		case p.Type == mqtt.PUBREL:
			w.complete(p)
		}
	}
}

// closedCode stands for a connection that was closed in place of an answer.
const closedCode mqtt.ReasonCode = 0xff

// tell publishes and answers what PUBACK or PUBREC said. At QoS 0 the answer is
// whether the connection lives.
func (w *wire) tell(topic, payload string, qos mqtt.QoS, change ...func(*mqtt.Publish)) mqtt.ReasonCode {
	w.t.Helper()
	p := mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: qos}
	if qos > 0 {
		p.PacketID = 79
	}
	for _, f := range change {
		f(&p)
	}
	w.send(p.Append(nil, w.v))
	typ := map[mqtt.QoS]mqtt.Type{0: mqtt.PINGRESP, 1: mqtt.PUBACK, 2: mqtt.PUBREC}[qos]
	if qos == 0 {
		_, _ = w.conn.Write(mqtt.AppendPingreq(nil))
	}
	in, ok := w.skipTo(typ)
	if !ok {
		return closedCode
	}
	if qos == 0 {
		return mqtt.Success
	}
	var ack mqtt.Ack
	if err := mqtt.DecodeAck(in.Body, in.Header, w.v, unlimited, &ack); err != nil {
		w.t.Fatal(err)
	}
	return ack.Reason
}

// manyAtOnce is how many tellMany has under way: at QoS 1 what the broker's Receive
// Maximum allows.
var manyAtOnce = map[mqtt.QoS]int{0: 250, 1: 32}

// tellMany is tell at QoS 0 or 1 for n messages, many of which are under way at a time
// and on the disk with one write. It answers how often each reason was given.
func (w *wire) tellMany(n int, qos mqtt.QoS, message func(i int) (topic, payload string), change ...func(*mqtt.Publish)) map[mqtt.ReasonCode]int {
	w.t.Helper()
	codes := make(map[mqtt.ReasonCode]int)
	for i := 0; i < n; i += manyAtOnce[qos] {
		var b []byte
		last := min(i+manyAtOnce[qos], n)
		for j := i; j < last; j++ {
			topic, payload := message(j)
			p := mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: qos}
			if qos > 0 {
				p.PacketID = uint16(j - i + 1)
			}
			for _, f := range change {
				f(&p)
			}
			b = p.Append(b, w.v)
		}
		if qos == 0 {
			b = mqtt.AppendPingreq(b)
		}
		w.send(b)
		if qos == 0 {
			if _, ok := w.skipTo(mqtt.PINGRESP); !ok {
				codes[closedCode] += n - i
				return codes
			}
			codes[mqtt.Success] += last - i
			continue
		}
		for j := i; j < last; j++ {
			in, ok := w.skipTo(mqtt.PUBACK)
			if !ok {
				codes[closedCode] += n - j
				return codes
			}
			var ack mqtt.Ack
			if err := mqtt.DecodeAck(in.Body, in.Header, w.v, unlimited, &ack); err != nil || ack.PacketID != uint16(j-i+1) {
				w.t.Fatalf("PUBACK %d: %+v, %v", j-i+1, ack, err)
			}
			codes[ack.Reason]++
		}
	}
	return codes
}

// named is messages with one payload to topics that end in their number.
func named(prefix, payload string) func(i int) (string, string) {
	return func(i int) (string, string) { return own + prefix + fmt.Sprint(i), payload }
}

// release ends a QoS 2 publish of tell and answers PUBCOMP's reason.
func (w *wire) release(id uint16) mqtt.ReasonCode {
	w.t.Helper()
	w.send((&mqtt.Ack{Type: mqtt.PUBREL, PacketID: id}).Append(nil, w.v, 0))
	in, ok := w.skipTo(mqtt.PUBCOMP)
	if !ok {
		return closedCode
	}
	var ack mqtt.Ack
	if err := mqtt.DecodeAck(in.Body, in.Header, w.v, unlimited, &ack); err != nil {
		w.t.Fatal(err)
	}
	return ack.Reason
}

// retained marks a publish to be kept.
func retained(p *mqtt.Publish) { p.Retain = true }

// hear reads what is delivered up to a payload that ends in last, and answers it
// all but that, acknowledging nothing. With acknowledge it acknowledges QoS 1 and 2
// by PUBACK and PUBREC.
func (w *wire) hear(last string, acknowledge bool) (got []string) {
	w.t.Helper()
	for {
		p, err := w.publish()
		if err != nil {
			w.t.Fatalf("waiting for %q after %q: %v", last, got[:min(len(got), 20)], err)
		}
		var m mqtt.Publish
		if err := mqtt.DecodePublishClient(p.Body, p.Header, w.v, unlimited, &m); err != nil {
			w.t.Fatal(err)
		}
		if acknowledge && m.QoS > 0 {
			typ := mqtt.PUBACK
			if m.QoS == 2 {
				typ = mqtt.PUBREC
			}
			w.send((&mqtt.Ack{Type: typ, PacketID: m.PacketID}).Append(nil, w.v, 0))
		}
		if bytes.HasSuffix(m.Payload, []byte(last)) {
			return got
		}
		got = append(got, string(m.Topic)+"="+string(m.Payload))
	}
}

// versions are all that a row is tried with.
var versions = []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5}

// rounds calls f at every door, each time with another version where all is false,
// and with all versions where it is true.
func (s *siege) rounds(t *testing.T, all bool, f func(t *testing.T, d door, v mqtt.Version)) {
	t.Helper()
	for i, d := range s.doors {
		for j, v := range versions {
			if all || i%len(versions) == j || v == mqtt.V5 && i == len(s.doors)-1 {
				t.Run(fmt.Sprintf("%s %s", d.name, v), func(t *testing.T) { f(t, d, v) })
			}
		}
	}
}

// second is a delayed message's time and some more.
func (s *siege) second() <-chan time.Time { return time.After(1200 * time.Millisecond) }
