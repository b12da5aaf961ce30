package harden

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// timingPairs is how often each of both is tried in a round. That four of the one are
	// faster than the fastest of the other happens by chance in one of 33 rounds for either,
	// and for the same in three one after the other, by more than noise, never.
	timingPairs, timingRounds = 6, 3
	// timingLeast is what nobody can measure from elsewhere: below it a difference is noise.
	timingLeast = 2 * time.Millisecond
	// timingMost is half of what a hash of a password takes: however long a refusal waits for
	// something else, a hash more in one of both must be seen.
	timingMost = 15 * time.Millisecond
	// timingBudget is how much of the time of a run one chain may take before its last round
	// begins. A quiet machine needs half a second for all of them.
	timingBudget = 4 * time.Second
)

// judgeTiming tells whether a wrong password takes as long for a user who exists as for one
// who does not: else whoever listens to the clock makes a list of users. One entrance of
// each chain is asked.
func (e *Env) judgeTiming(ctx context.Context, p *endpoint, u *ProbeUser) Result {
	chain := e.Config.Listeners[p.name].Authn
	q := e.at("chain:"+chain, p.addr)
	q.key = p.key
	what, want := "how long a wrong password takes", "the same, whether the user exists or not"
	var t timing
	for began := e.Clock.Now(); ; {
		known, nobody, wrong := e.clockRefusals(ctx, p, u)
		if wrong != "" {
			q.see(Probe, what, want, wrong, Unknown)
			break
		}
		state := t.add(known, nobody)
		if state == Unknown && t.rounds < timingRounds && e.Clock.Now().Sub(began) < timingBudget {
			continue
		}
		q.see(Probe, what, want, t.words(state), state)
		switch state {
		case Unknown:
			q.fixes = []string{"run this row again when the machine is quieter: redoubt doctor --only P4.1"}
		case Fail:
			q.fixes = []string{"look for an authenticator of chain " + chain + " that answers without work for users it does not know: redoubt authn test --listener " + p.name + " --username NAME --password-file - says how long each takes"}
		}
		break
	}
	return q.result(Behavioural, "does not tell by time who exists")
}

// timing is what was measured so far of one chain, over its rounds.
type timing struct {
	known, nobody span
	rounds        int
	slower        int // rounds in which the known user took longer; below zero: the unknown one
}

// add has one more round and says what follows from all of them.
//
// Whatever else the machine does makes some refusals slower and none faster, so it is the
// fast ones that tell. Success needs two things: the fastest of both are near each other, and
// the fast ones of each lie so close together that a difference would stand out among them.
// Where noise is as large as what it may hide, nobody knows.
func (t *timing) add(known, nobody span) State {
	t.rounds++
	if known.apartFrom(nobody) {
		if slices.Min(known) > slices.Min(nobody) {
			t.slower++
		} else {
			t.slower--
		}
	}
	t.known, t.nobody = append(t.known, known...), append(t.nobody, nobody...)
	switch {
	case max(t.slower, -t.slower) == timingRounds:
		return Fail
	case t.known.apartFrom(t.nobody) || t.difference()+max(t.known.spread(), t.nobody.spread()) > t.resolution():
		return Unknown
	}
	return Pass
}

// difference is that of the fastest of both.
func (t *timing) difference() time.Duration {
	return (slices.Min(t.known) - slices.Min(t.nobody)).Abs()
}

// resolution is the difference that must be seen if there is one: one takes half as long again
// as the other, and what nobody can measure.
func (t *timing) resolution() time.Duration {
	return min(min(slices.Min(t.known), slices.Min(t.nobody))/2+timingLeast, timingMost)
}

// words are what was measured, and what it is worth.
func (t *timing) words(s State) string {
	said := fmt.Sprintf("a known user %s; an unknown one %s; %d of each", t.known, t.nobody, len(t.known))
	if s != Unknown {
		return said
	}
	spread := max(t.known.spread(), t.nobody.spread())
	return fmt.Sprintf("cannot be told here: %s: the fastest differ by %s and the fast ones of each by up to %s, while a difference of %s would have to be seen; the machine is too busy, run this again when it is quieter",
		said, inMillis(t.difference()), inMillis(spread), inMillis(t.resolution()))
}

// span is how long some took.
type span []time.Duration

// String has the figures that are judged, and the slowest.
func (s span) String() string {
	return fmt.Sprintf("%s at best, a third within %s, %s at worst", inMillis(slices.Min(s)), inMillis(slices.Min(s)+s.spread()), inMillis(slices.Max(s)))
}

// inMillis is d without what nobody can measure.
func inMillis(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }

// spread is between the fastest and the slowest of the fastest third, or rather the one after
// that: how much noise there is where there is least.
func (s span) spread() time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[len(sorted)/3] - sorted[0]
}

// apartFrom tells whether one of two takes longer, by more than noise: its fastest is slower
// than most of the other.
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
	return 3*faster >= 2*len(s) && least-slices.Min(s) > max(timingLeast, min(least/10, timingMost))
}

// clockRefusals is told twelve times that a password is wrong, in turns for both. Who is
// first in a turn changes, so that what the broker does at every other of them (memory of a
// hash is freed) is in both.
func (e *Env) clockRefusals(ctx context.Context, p *endpoint, u *ProbeUser) (known, nobody span, wrong string) {
	level := byte(level4)
	if _, s := e.clockRefusal(ctx, p, level, u.Name); s.is(typeConnack, unsupportedVersion(level)) {
		level = level5
	}
	for i := range timingPairs {
		for _, exists := range []bool{i%2 == 0, i%2 != 0} {
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
	c := connectPacket{level: level, clientID: e.clientID(), user: &name, password: []byte("wrong-" + randomText()), hasPass: true}
	clk := cmp.Or(e.refusals, e.Clock)
	began := clk.Now()
	s := m.ask(c.encode(), typeConnack)
	return clk.Now().Sub(began), s
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
