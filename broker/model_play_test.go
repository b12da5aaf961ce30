package broker

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
)

// expiryMax is how long a session may outlive its connection, seconds.
const expiryMax = 30

// play is one script: a broker of two homes, and the model beside it.
type play struct {
	d       *desk
	account *session.Account
	delayed *delay.Account
	parties []*party
	links   map[ConnRef]*link
	frames  map[*mqtt.Frame]bool // all that were ever sent
	said    []string             // what happened, in words
	closed  []*link              // by the broker, since the last look

	// The model.
	sessions []*memory
	parcels  []*parcel
	kept     map[string]kept
	hazy     []*note // published, and not known to be routed
	later    []*postponed
	together bool // several things fall due at once
	busy     bool // when the step began, something was on its way
	numbers
	limits
}

// numbers only grow.
type numbers struct{ step, notes, texts, puts, requests int }

// limits are those of all sessions of a script, and what they subscribe to.
type limits struct {
	queue, inflight int
	filters         []string
}

// failure is what a script ends with when broker and model differ.
type failure string

func (p *play) fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }
func (p *play) say(format string, args ...any) {
	p.said = append(p.said, fmt.Sprintf("%3d ", p.step)+fmt.Sprintf(format, args...))
}

func newPlay(t testing.TB, mood byte) *play {
	p := &play{
		account: session.NewAccount(1 << 30), links: map[ConnRef]*link{}, kept: map[string]kept{}, frames: map[*mqtt.Frame]bool{},
		delayed: delay.NewAccount(delay.Limits{Messages: 1000, Bytes: 1 << 20, OwnerMessages: 1000, OwnerBytes: 1 << 20}),
		limits:  limits{queue: pick([]int{1000, 1000, 1000, 2}, mood), inflight: pick([]int{4, 2, 1}, mood>>2), filters: pick([][]string{modelFilters, modelFilters, groupFilters}, mood>>6)},
	}
	p.d = newDesk(t, 2, func(s *Settings) {
		s.Session.Account, s.Session.MqueueMessages, s.Session.InflightMax = p.account, p.queue, p.inflight
		s.SessionExpiryMax, s.DelayMax = expiryMax, 100
		s.SharedStrategy = pick([]router.Strategy{router.RoundRobin, router.Random, router.Sticky, router.HashTopic}, mood>>4)
	})
	p.d.b.delayed = p.delayed
	for i := range p.d.homes {
		p.d.homes[i] = p.d.b.NewHome(i, modelWire{p.d.wires[i], p}, p.d.metrics.NewShard(), p.d.now)
	}
	for i, name := range []string{"ann", "ben", "cas"} {
		p.parties = append(p.parties, &party{name: name, home: i & 1, reads: true, writes: true})
	}
	p.d.b.authz.Swap(p.policy())
	return p
}

var modelPolicies = map[string]*auth.Policy{}

// policy is the rules of now.
func (p *play) policy() *auth.Policy {
	text := "version: 1\nrules:\n"
	for _, w := range p.parties {
		for verb, may := range map[string]bool{"subscribe": w.reads, "publish": w.writes} {
			if !may {
				text += fmt.Sprintf("  - {deny: %s, users: [%s], topics: [\"lent/#\"]}\n", verb, w.name)
			}
		}
	}
	text += "  - {allow: all, topics: [\"#\"]}\n"
	if modelPolicies[text] == nil {
		policy, err := rules.Parse("rules.yaml", []byte(text))
		if err != nil {
			p.fail("%v", err)
		}
		modelPolicies[text] = policy
	}
	return modelPolicies[text]
}

// take plays one step and compares. Who is not connected connects instead.
func (p *play) take(s step) {
	p.step++
	p.busy = !p.quiet()
	w := p.parties[int(s.who&127)%len(p.parties)]
	do := ops[int(s.op)%len(ops)]
	if w.link == nil {
		switch s.op % byte(len(ops)) {
		case opTick, opTick + 1, opRights, opLane: // nobody's
		default:
			do = (*play).stepConnect
		}
	}
	do(p, w, s)
	if s.who>>7 == 0 || s.op&64 != 0 {
		p.turns()
	}
	p.compare()
}

// Places of ops that need no connection.
const (
	opTick   = 26
	opRights = 28
	opLane   = 30
)

// turns lets the loops go round until nothing moves.
func (p *play) turns() {
	for range 60 {
		if p.quiet() && !p.works() {
			return
		}
		p.d.turn()
	}
	if p.quiet() && p.works() {
		p.fail("60 turns, and retained messages are still being sent")
	}
}

// quiet: nothing is on its way from one home to the other, or waits for that.
func (p *play) quiet() bool {
	for i, h := range p.d.homes {
		if len(p.d.wires[i].inbox) > 0 || len(h.lanes.stalled) > 0 || h.lanes.to[1-i].batch != nil {
			return false
		}
	}
	return !p.works()
}

// works: a home has more to do in its next turn.
func (p *play) works() bool {
	return slices.ContainsFunc(p.d.homes, func(h *Home) bool { return len(h.work.replaying) > 0 || h.work.judge })
}

// compare reads what the broker has sent, and holds it against the model.
func (p *play) compare() {
	for _, m := range p.hazy {
		p.consider(m)
	}
	p.open()
	p.soften()
	for len(p.closed) > 0 {
		l := p.closed[0]
		p.closed = p.closed[1:]
		p.read(l)
		if w := l.who; w.link == l { // the model did not see it coming
			denied := l.shut.reason == mqtt.NotAuthorized && l.version != mqtt.V5 && slices.ContainsFunc(p.hazy, func(m *note) bool { return m.from == w && m.mayDeny && m.qos > 0 })
			if l.shut.reason != l.allowed && !denied {
				p.fail("%s: the broker closes with %v (%v) for no reason", w.name, l.shut.reason, l.shut.why)
			}
			p.depart(w.memory, true)
			p.open()
		}
	}
	for _, w := range p.parties {
		l := w.link
		if l == nil {
			continue
		}
		p.read(l)
		if l.allowed != 0 {
			p.fail("%s: its connection should have been closed with %v", w.name, l.allowed)
		}
		if len(l.asked) > 0 {
			p.fail("%s has no answer: %+v", w.name, l.asked)
		}
	}
	for _, s := range p.sessions {
		if y := s.who.home; len(p.d.wires[y].inbox) == 0 && p.d.homes[1-y].lanes.to[y].batch == nil {
			for _, o := range s.owed {
				o.here = o.here || !slices.Contains(p.hazy, o.m)
			}
		}
	}
	if p.quiet() {
		p.rest()
	}
}

// open: what a member of a group has not kept goes to whoever is a member now.
func (p *play) open() {
	groups := p.groups()
	for _, x := range p.parcels {
		if x.taken == nil || x.loose || x.blur {
			for s, sub := range groups[x.group] {
				x.offer(s, sub)
				p.overflow(s, nil)
			}
		}
	}
	for _, x := range p.parcels {
		for s := range x.could {
			if !x.blur && p.twice(s, x) {
				x.blur, x.must, x.now = true, false, false
			}
		}
	}
}

// twice: s may get the message of x by something else as well, and cannot tell one
// from the other. Then nothing is asked of x: any of them may be the missing one.
func (p *play) twice(s *memory, x *parcel) bool {
	alike := func(forms []form) bool {
		return slices.ContainsFunc(forms, func(f form) bool { return x.fits(s, f, mqtt.V311) })
	}
	for _, o := range s.owed {
		if o.m.text == x.m.text && o.m.topic == x.m.topic && o.parcel == nil && alike(o.forms) {
			return true
		}
	}
	for _, y := range p.parcels {
		if y != x && y.m.text == x.m.text && y.m.topic == x.m.topic && alike(y.could[s]) {
			return true
		}
	}
	return false
}

// soften: what does not fit a client is not for it [MQTT-3.1.2-25].
func (p *play) soften() {
	for _, s := range p.sessions {
		l := s.who.link
		if l == nil || l.max == 0 {
			continue
		}
		for _, x := range p.parcels {
			if x.could[s] != nil {
				x.must, x.now, x.at = false, false, nil
			}
		}
		for _, o := range s.owed {
			if o.must && o.link != l.n && o.tooLarge(l) {
				o.must = false
			}
		}
	}
}

// tooLarge tells whether o, in any form, is over the maximum of l.
func (o *debt) tooLarge(l *link) bool {
	return slices.ContainsFunc(o.forms, func(f form) bool {
		m := mqtt.Publish{Topic: []byte(o.m.topic), Payload: []byte(o.m.text), QoS: f.qos, PacketID: 1, HasMessageExpiry: !o.m.expires.IsZero()}
		for _, id := range strings.Fields(strings.Trim(f.ids, "[]")) {
			var n uint32
			_, _ = fmt.Sscan(id, &n)
			m.SubscriptionIDs = append(m.SubscriptionIDs, n)
		}
		return len(m.Append(nil, l.version)) > int(l.max)
	})
}

// rest: nothing is on its way, so that whatever could come has come.
func (p *play) rest() {
	for _, m := range p.hazy {
		if m.retain && m.mayDo {
			p.store(m, false)
		}
	}
	p.hazy = nil
	for _, w := range p.parties {
		if w.link == nil {
			continue
		}
		for _, f := range w.memory.flights {
			if !f.received && f.packet.Topic[0] != '$' {
				p.fail("%s: %q is never answered", w.name, f.m.text)
			}
		}
		if p.d.wires[w.home].paused[w.link.ref] {
			p.fail("%s is not read any more", w.name)
		}
	}
	for _, s := range p.sessions {
		p.restOf(s)
	}
	for _, x := range p.parcels {
		connected := false
		for s := range p.groups()[x.group] {
			if l := s.who.link; l != nil { // it may wait at one that has no room any more
				connected = true
				x.now = x.now && !l.full && s.unacknowledged() < l.window(p)
			}
		}
		x.now = x.now && connected
		if x.now && (x.taken == nil || x.loose) {
			p.fail("%q for the group %q has come to nobody, and there was one who could take it", x.m.text, x.group)
		}
	}
}

func (p *play) restOf(s *memory) {
	l := s.who.link
	if l == nil || l.full {
		return
	}
	room := s.unacknowledged() < l.window(p)
	left := s.owed[:0]
	for _, o := range s.owed {
		held := !room && (o.replay != "" || slices.ContainsFunc(o.forms, func(f form) bool { return f.qos > 0 }))
		switch {
		case o.stage != waiting && o.link != l.n && o.must && s.unacknowledged() <= l.window(p):
			p.fail("%s: %q is not repeated [MQTT-4.4.0-1]", s, o.m.text)
		case o.stage == waiting && o.must && !held:
			p.fail("%s: %q on %s is lost\n%s", s, o.m.text, o.m.topic, s.debts())
		case o.stage == waiting && !o.must && !held: // it does not come any more
			continue
		}
		left = append(left, o)
	}
	clear(s.owed[len(left):])
	s.owed = left
}

// finish brings everybody back, lets them take all they are owed, and lets them go.
func (p *play) finish() {
	p.step++
	p.say("the end: everybody comes back")
	for _, w := range p.d.wires {
		w.refuse = false
	}
	for _, w := range p.parties {
		if w.link != nil && w.link.full {
			p.stepSocket(w, step{})
		}
	}
	p.turns()
	p.compare()
	for _, w := range p.parties {
		if w.link == nil && w.memory != nil {
			p.connect(w, &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 65535, SessionExpiry: expiryMax, RequestProblemInformation: true})
			p.turns()
			p.compare()
		}
	}
	for more := true; more; {
		more = false
		for _, w := range p.parties {
			for w.link != nil && len(w.link.todo) > 0 {
				more = true
				p.acknowledge(w, 0, false)
				p.turns()
				p.compare()
			}
		}
	}
	for _, s := range p.sessions {
		for _, o := range s.owed {
			if o.must {
				p.fail("%s: %q, stage %d, is left for ever\n%s", s, o.m.text, o.stage, s.debts())
			}
		}
	}
	for _, x := range p.parcels {
		if x.must && x.taken == nil {
			p.fail("%q for the group %q has never come to anybody", x.m.text, x.group)
		}
	}
	p.goAway()
}

// goAway: everybody leaves, time passes, and nothing may be left.
func (p *play) goAway() {
	for _, w := range p.parties {
		if w.link != nil {
			p.stepLoss(w, step{})
		}
	}
	for range expiryMax + 5 {
		p.second()
		p.turns()
		p.compare()
	}
	for _, topic := range modelTopics {
		f := mqtt.NewFrame([]byte(topic), nil, nil)
		_, _ = p.d.b.retained.Put(f)
		f.Release()
	}
	groups, members := p.d.b.groups.Stats()
	messages, bytes := p.d.b.retained.Stats()
	held, _ := p.delayed.Held()
	timers := 0
	for _, h := range p.d.homes {
		timers += h.timers.Armed() + h.byKey.Len() + len(h.lanes.stalled)
	}
	frames := 0
	for f := range p.frames { // nobody else counts them, so it looks where only package mqtt may
		if reflect.ValueOf(f).Elem().FieldByName("refs").FieldByName("v").Int() != 0 {
			frames++
		}
	}
	for _, left := range []struct {
		what string
		n    int64
	}{
		{"sessions", int64(p.d.b.Sessions())}, {"of the model's sessions", int64(len(p.sessions))}, {"subscriptions", int64(p.d.b.index.Stats().Subscribers)},
		{"groups", int64(groups)}, {"members", int64(members)}, {"retained messages", int64(messages)}, {"bytes of them", bytes},
		{"delayed messages", int64(held)}, {"bytes in queues", p.account.Held()}, {"timers, names and waiting publishers", int64(timers)}, {"frames", int64(frames)},
	} {
		if left.n != 0 {
			p.fail("%d %s are left when everybody has gone", left.n, left.what)
		}
	}
}

// run plays a script and answers how it failed, with what happened in words.
func run(t testing.TB, mood byte, script []step) (said []string, failed string) {
	p := newPlay(t, mood)
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			failed = string(r)
		default:
			failed = fmt.Sprint("panic: ", r)
		}
		said = p.said
	}()
	for _, s := range script {
		p.take(s)
	}
	p.finish()
	return p.said, ""
}

// shorten drops steps as long as the script still fails.
func shorten(t testing.TB, mood byte, script []step) []step {
	runs := 0
	for size := len(script) / 2; size > 0; {
		dropped := false
		for at := 0; at+size <= len(script) && runs < 3000; {
			runs++
			shorter := slices.Delete(slices.Clone(script), at, at+size)
			if _, failed := run(t, mood, shorter); failed != "" {
				script, dropped = shorter, true
				continue
			}
			at += size
		}
		if !dropped || runs >= 3000 {
			size /= 2
		}
	}
	return script
}

// report plays a script, and a shorter one that fails as well, in words.
func report(t testing.TB, mood byte, script []step) {
	t.Helper()
	_, failed := run(t, mood, script)
	if failed == "" {
		return
	}
	short := shorten(t, mood, script)
	said, why := run(t, mood, short)
	t.Errorf("%s\n\n%d of %d steps are enough (mood %d):\n%s\n%s", failed, len(short), len(script), mood, strings.Join(said, "\n"), why)
}

// stepsMax bounds a script of the fuzzer, which would make long ones and learn
// nothing from them.
const stepsMax = 150

// FuzzModel is TestModel with scripts that the fuzzer writes: the first byte is the
// mood, and five make a step.
func FuzzModel(f *testing.F) {
	for seed := range uint64(16) {
		rng := rand.New(rand.NewPCG(seed, 4))
		in := make([]byte, 1+5*40)
		for i := range in {
			in[i] = byte(rng.Uint32())
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		var script []step
		for b := in[1:]; len(b) >= 5 && len(script) < stepsMax; b = b[5:] {
			script = append(script, step{b[0], b[1], b[2], b[3], b[4]})
		}
		report(t, in[0], script)
	})
}

// TestModel plays random scripts of three clients on two homes against the model. A
// seed that fails is played again with -run 'TestModel/seed=N$'.
func TestModel(t *testing.T) {
	const steps = 150
	for seed := range uint64(testkit.Seeds(16, 320)) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			script := make([]step, steps)
			for i := range script {
				n := rng.Uint64()
				script[i] = step{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), byte(n >> 32)}
			}
			report(t, byte(rng.Uint32()), script)
		})
	}
}
