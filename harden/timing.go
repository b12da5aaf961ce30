package harden

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// timingPairs is how often each of both is tried in a round. That four of the one are
	// faster than the fastest of the other happens by chance in one of 16 rounds, and in three
	// one after the other, by more than noise, never.
	timingPairs, timingRounds = 6, 3
	// timingLeast is what nobody can measure from elsewhere: below it a difference is noise.
	timingLeast = 2 * time.Millisecond
)

// judgeTiming tells whether a wrong password takes as long for a user who exists as for one
// who does not: else whoever listens to the clock makes a list of users. One entrance of
// each chain is asked.
func (e *Env) judgeTiming(ctx context.Context, p *endpoint, u *ProbeUser) Result {
	chain := e.Config.Listeners[p.name].Authn
	q := e.at("chain:"+chain, p.addr)
	q.key = p.key
	what, want := "how long a wrong password takes", "the same, whether the user exists or not"
	for round := 1; ; round++ {
		known, nobody, err := e.clockRefusals(ctx, p, u)
		if err != "" {
			q.see(Probe, what, want, err, Unknown)
			break
		}
		said := fmt.Sprintf("a known user %s, an unknown one %s", known, nobody)
		if !known.apartFrom(nobody) {
			q.see(Probe, what, want, said, Pass)
			break
		}
		if round == timingRounds {
			q.see(Probe, what, want, said, Fail)
			break
		}
	}
	return q.result(Behavioural, "does not tell by time who exists")
}

// span is how long some took.
type span []time.Duration

// String is rounded, so that two runs can be compared.
func (s span) String() string {
	return fmt.Sprintf("%v to %v", slices.Min(s).Round(time.Millisecond), slices.Max(s).Round(time.Millisecond))
}

// apartFrom tells whether one of two takes longer, by more than noise. Whatever else the
// machine does makes some of them slower and none faster, so the fastest count: that of the
// one is slower than most of the other.
func (s span) apartFrom(o span) bool {
	if slices.Min(s) > slices.Min(o) {
		s, o = o, s
	}
	least, faster := slices.Min(o), 0
	for _, d := range s {
		if d < least {
			faster++
		}
	}
	return 3*faster >= 2*len(s) && least-slices.Min(s) > max(timingLeast, least/5)
}

// clockRefusals is told twelve times that a password is wrong, in turns for both.
func (e *Env) clockRefusals(ctx context.Context, p *endpoint, u *ProbeUser) (known, nobody span, wrong string) {
	level := byte(level4)
	if _, s := e.clockRefusal(ctx, p, level, u.Name); s.is(typeConnack, unsupportedVersion(level)) {
		level = level5
	}
	for range timingPairs {
		for _, exists := range []bool{true, false} {
			name, to := u.Name, &known
			if !exists {
				name, to = "probe-"+randomText(), &nobody
			}
			took, s := e.clockRefusal(ctx, p, level, name)
			if !s.is(typeConnack, 4, 5, 0x86, 0x87) {
				return known, nobody, "a wrong password was not refused: " + s.String()
			}
			*to = append(*to, took)
		}
	}
	return known, nobody, ""
}

// clockRefusal is the time between CONNECT and CONNACK.
func (e *Env) clockRefusal(ctx context.Context, p *endpoint, level byte, name string) (time.Duration, said) {
	conn, err := e.open(ctx, e.withCert(p, nil))
	if err != nil {
		return 0, said{other: "no connection: " + shortened(err.Error())}
	}
	m := newClient(ctx, e, conn, level)
	defer m.drop()
	c := connectPacket{level: level, clientID: "probe-" + randomText(), user: &name, password: []byte("wrong-" + randomText()), hasPass: true}
	began := e.Clock.Now()
	s := m.ask(c.encode(), typeConnack)
	return e.Clock.Now().Sub(began), s
}

// timed are entrances of which one of each chain is timed: the first.
func (e *Env) timed(tried []*endpoint) (out []*endpoint) {
	seen := map[string]bool{}
	for _, p := range tried {
		if chain := e.Config.Listeners[p.name].Authn; !seen[chain] {
			seen[chain] = true
			out = append(out, p)
		}
	}
	return out
}
