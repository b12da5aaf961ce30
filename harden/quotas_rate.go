package harden

import (
	"context"
	"fmt"
	"time"
)

// Rate is what one client of a listener may publish, as the running process holds it.
type Rate struct {
	Messages int64 // a second; 0: not limited
	Burst    int64 // at once
}

// rateOver is for how long a client should not be read that was over its rate, at least.
const rateOver = 200 * time.Millisecond

// floodProbeMax is how many messages a probe is willing to send to be over a rate.
const floodProbeMax = 20_000

// rate publishes under the rate and then over it, at one entrance: a limit that holds at
// another says nothing about this one. So many messages cannot have been taken in less
// time than those over the burst take at the rate, whether the broker stops reading or
// ends the connection.
func (t *measure) rate(ctx context.Context, r Rate) {
	const what = "publishing over the rate"
	if r.Messages == 0 {
		t.see(what, "a client is slowed or disconnected", "not tried: listeners."+t.p.name+".limits.publish_rate.messages is 0, so that nobody is", Warn)
		t.q.fixes = append(t.q.fixes, "set limits.publish_rate.messages to what a client needs")
		return
	}
	over := max(1, int64(float64(r.Messages)*rateOver.Seconds()))
	n := r.Burst + over
	if n > floodProbeMax {
		t.see(what, "tried at the limit", fmt.Sprintf("not tried: %d messages are more than a probe sends", n), Unknown)
		return
	}
	m := t.client(ctx, what)
	if m == nil {
		return
	}
	defer m.drop()
	flood := func(n int64) []byte {
		p := publishPacket{topic: t.u.Topic}
		one := p.encode(t.level)
		b := make([]byte, 0, int(n)*len(one)+2)
		for range n {
			b = append(b, one...)
		}
		return append(b, typePingreq<<4, 0)
	}
	under := max(1, r.Burst/2)
	begun := t.q.e.Clock.Now()
	s := m.ask(flood(under), typePingresp)
	control := s.ok(typePingresp)
	t.see(fmt.Sprintf("%d messages at once, half of what is allowed (positive control)", under), "PINGRESP", s.String(), passIf(control, Unknown))
	s = m.ask(flood(n-under), typePingresp)
	took := t.q.e.Clock.Now().Sub(begun)
	least := time.Duration(over) * time.Second / time.Duration(r.Messages)
	state, ended := Unknown, s.is(typeDisconnect, 0x96) || t.level != level5 && s.closed
	switch {
	case ended || s.ok(typePingresp) && took >= least-least/5:
		state = passIf(control, Unknown)
	case s.ok(typePingresp):
		state = Fail
	}
	t.see(fmt.Sprintf("%d messages at once, where %d are allowed and %d a second", n, r.Burst, r.Messages),
		fmt.Sprintf("they take %v, or DISCONNECT 0x96", least.Round(time.Millisecond)), fmt.Sprintf("%s after %v", s, took.Round(time.Millisecond)), state)
}
