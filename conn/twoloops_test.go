package conn

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
)

// duet is two real loops with their homes, and nothing that runs by itself: one
// seeded scheduler decides who does something next. Sockets, pollers and phones
// are the test's; a phone knows what it must be sent.
type duet struct {
	t       *testing.T
	rng     *rand.Rand
	server  *Server
	metrics *metrics.Registry
	log     *lockedBuffer
	index   *router.Index
	account *session.Account
	clock   *clock.Manual
	lst     *listener.Listener
	running *Loop // whose turn it is

	socks    []*simSocket // that the test is not done with
	phones   []*phone
	lives    []*life
	messages map[string]*message
	verdicts []func() // authentications under way
	received int
	frames   map[*mqtt.Frame]struct{} // all that were ever sent

	refused [2]int // batches, by sender
	mood
}

// mood is how a seed plays.
type mood struct {
	calm   bool // nobody leaves
	churn  int  // how often somebody comes or leaves
	late   int  // the loop that is not favoured has one of so many turns
	txMax  int  // what the network holds of one connection
	filler int  // payloads are up to so long

	favoured int
	passed   time.Duration
	turns    int
	longest  int // turns until everything was at rest
}

const windowMax = 8 // messages of one phone that are not acknowledged

// filters are what phones subscribe to beside the topic of their own, and topics
// what they publish to beside those of others.
var (
	filters = []string{"all/1", "all/2", "some/+", "some/x"}
	topics  = []string{"all/1", "all/2", "some/x", "some/y"}
)

var duetPolicy = "version: 1\nrules:\n  - {allow: all, topics: [\"all/#\", \"some/#\", \"own/#\"]}\n"

func newDuet(t *testing.T, seed uint64) *duet {
	d := &duet{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), metrics: metrics.New(), log: &lockedBuffer{}, index: router.New(),
		account: session.NewAccount(1 << 30), clock: clock.NewManual(time.Unix(1_800_000_000, 0)),
		lst: &listener.Listener{Name: "sim", Chain: "default"}, messages: map[string]*message{}, frames: map[*mqtt.Frame]struct{}{},
	}
	pick := func(of ...int) int { return of[d.rng.IntN(len(of))] }
	d.mood = mood{calm: seed%4 == 0, txMax: pick(40, 500, 5000, 100_000), filler: pick(1, 60, 500, 500, 500, 9000, 9000, 90_000), late: pick(3, 12, 40, 80)}
	if !d.calm {
		d.churn = pick(1, 4, 10, 20)
	}
	var err error
	if d.lst.Door, err = listener.NewDoor(listener.DoorLimits{ConnectionsTotal: 1e6, UnauthenticatedTotal: 1e6, HandshakesTotal: 1e6, ConnectDeadline: time.Hour}, d.metrics.NewShard()); err != nil {
		t.Fatal(err)
	}
	policy, err := rules.Parse("rules.yaml", []byte(duetPolicy))
	if err != nil {
		t.Fatal(err)
	}
	b := broker.New(broker.Options{
		Homes: 2, Index: d.index, Retained: retain.New(retain.Options{MessagesMax: 1, BytesMax: 1000}), Authorizer: auth.NewAuthorizer(policy),
		Chains: map[string]*auth.Chain{"default": auth.NewChain(later{d})},
		Log:    audit.New(slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelWarn})), d.metrics.NewShard()),
		Settings: &broker.Settings{
			PacketLimits: broker.PacketLimits{PacketBytes: 1 << 20, ConnectPacketBytes: 16 << 10, TopicLevels: 10, TopicBytes: 1024, ClientIDBytes: 256},
			Session:      &session.Limits{InflightMax: 4, MqueueMessages: 1e6, MqueueBytes: 1 << 30, AwaitingRelMax: windowMax, ReceiveMaximum: windowMax, Account: d.account},
			KeepAliveMax: 3600, KeepAliveMaxV3: 3600, Subscriptions: 10, WildcardSubscriptions: 10, SessionsTotal: 100, SessionExpiryMax: 1000,
			Versions: versions, Offer: broker.Offer{MaxQoS: 2, WildcardAvailable: true},
		},
	})
	d.server = &Server{broker: b, metrics: d.metrics, count: d.metrics.NewShard(), clock: d.clock, epoch: d.clock.Now(), ended: make(chan struct{}), halves: limit.NewTally()}
	for i := range 2 {
		l := newLoop(d.server, i)
		l.home = b.NewHome(i, spy{l, d}, l.count, d.clock.Now())
		l.poll = &simPoller{d: d, loop: l}
		l.inbox.wake, l.inbox.dataMax = l.poll.wake, pick(1, 200, 2000, 20_000)
		d.server.loops = append(d.server.loops, l)
	}
	for n := range 4 { // of two identities each; one id is two sessions
		id := d.idFor(n)
		for _, user := range []string{"ann", "ben"} {
			v := versions[d.rng.IntN(len(versions))]
			d.phones = append(d.phones, &phone{d: d, index: len(d.phones), user: user, id: id, version: v, durable: d.rng.IntN(2) > 0, reading: true})
		}
	}
	return d
}

// idFor is a client id whose sessions live where the seed says: the broker's hash
// is keyed anew in each process.
func (d *duet) idFor(n int) string {
	want := [2]int{d.rng.IntN(2), d.rng.IntN(2)}
	for i := 0; ; i++ {
		id := fmt.Sprintf("c%d-%04d", n, i)
		var at [2]int
		for j, user := range []string{"ann", "ben"} {
			at[j] = d.server.broker.HomeOf(session.Key{Identity: user, ClientID: id})
		}
		if at == want {
			return id
		}
	}
}

// later proves everybody, when the scheduler says so.
type later struct{ d *duet }

func (later) Name() string { return "sim" }

func (a later) Authenticate(req *auth.Request, done func(auth.Result)) {
	r := auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: req.Username, Username: req.Username, ClientID: req.ClientID}}
	a.d.verdicts = append(a.d.verdicts, func() { done(r) })
}

// onLoops checks that a socket is called by the loop it belongs to.
func (d *duet) onLoop(s *simSocket) {
	if d.running == nil || s.conn.loop != d.running || s.native && s.poll != d.running.poll {
		d.t.Fatalf("%v: its socket was called by a loop that does not have it", s.phone)
	}
}

// dial is a new connection on a loop.
func (d *duet) dial(p *phone, loop int) *simSocket {
	l := d.server.loops[loop]
	s := &simSocket{d: d, phone: p, native: d.rng.IntN(2) == 0, txMax: d.txMax}
	s.conn = &Conn{sock: s, listener: d.lst, place: listener.Outside(netip.AddrFrom4([4]byte{127, 0, 0, 1})), port: 1}
	s.conn.pace.until = d.server.instant(d.clock.Now().Add(time.Hour))
	d.server.born()
	d.socks = append(d.socks, s)
	if s.native {
		poll := l.poll.(*simPoller)
		poll.coming = append(poll.coming, s)
	} else {
		s.conn.loop = l
		l.inbox.post(event{kind: evArrived, conn: s.conn})
	}
	return s
}

// turn lets loop i go round, if it is not asleep with nothing to wake it.
func (d *duet) turn(i int) bool {
	l := d.server.loops[i]
	p := l.poll.(*simPoller)
	if !p.look() && p.asleep {
		return false
	}
	d.turns++
	d.running = l
	l.turn()
	d.running = nil
	l.wait()
	d.check()
	return true
}

// check is what holds after every turn.
func (d *duet) check() {
	d.t.Helper()
	held := map[*phone]int{}
	for _, l := range d.server.loops {
		d.checkWaking(l)
		for slot, c := range l.conns {
			if c == nil {
				continue
			}
			if c.loop != l || int(c.ref.Slot) != slot || l.gens[slot] != c.ref.Gen {
				d.t.Fatalf("slot %d of loop %d holds a connection that is not its own", slot, l.id)
			}
			if p := c.sock.(*simSocket).phone; c.stage == open {
				if held[p]++; held[p] > 1 {
					d.t.Fatalf("%v has two connections", p)
				}
			}
		}
	}
}

// checkWaking: no loop sleeps with something to hand over, unless who refused it
// will wake it.
func (d *duet) checkWaking(l *Loop) {
	if !l.poll.(*simPoller).asleep {
		return
	}
	waiting, publishers := inLanes(l.home)
	for home := range waiting {
		if !slices.Contains(d.server.loops[home].inbox.refused, l) {
			d.t.Fatalf("loop %d sleeps with a batch for loop %d, which will not wake it", l.id, home)
		}
	}
	if publishers > 0 && len(waiting) == 0 {
		d.t.Fatalf("loop %d sleeps and %d publishers wait for nothing", l.id, publishers)
	}
}

// act does one thing.
func (d *duet) act() {
	switch n := d.rng.IntN(100); {
	case n < 30:
		d.someTurn()
	case n < 70 && len(d.socks) > 0:
		s := d.socks[d.rng.IntN(len(d.socks))]
		if s.shut && s.counted {
			d.socks = slices.DeleteFunc(d.socks, func(s *simSocket) bool { return s.shut && s.counted })
			return
		}
		switch d.rng.IntN(3) {
		case 0:
			s.feed(1 + d.rng.IntN(1+len(s.unsent)))
			s.pump()
		case 1:
			s.pump()
		case 2:
			if s.phone.reading {
				s.phone.read(s)
			}
		}
	case n < 75:
		d.verdict()
	case n < 76 && d.passed < 20*time.Second: // less than a stuck write is given
		d.passed += time.Second
		d.clock.Advance(time.Second)
	default:
		d.use(d.phones[d.rng.IntN(len(d.phones))])
	}
}

// someTurn favours one loop for a while, so that the other is late and its lane
// fills.
func (d *duet) someTurn() {
	if d.rng.IntN(2*d.late) == 0 {
		d.favoured = d.rng.IntN(2)
	}
	i := d.favoured
	if d.rng.IntN(d.late) == 0 {
		i = 1 - i
	}
	d.turn(i)
}

// hurry brings p to its session once more before the other loop comes to drain the
// lane.
func (d *duet) hurry(p *phone) {
	home := d.server.broker.HomeOf(session.Key{Identity: p.user, ClientID: p.id})
	p.connectAt(home, false)
	s := p.sock
	for range 3 {
		s.feed(len(s.unsent))
		s.pump()
		d.turn(home)
		for d.verdict() {
		}
		p.read(s)
	}
}

func (d *duet) verdict() bool {
	if len(d.verdicts) == 0 {
		return false
	}
	i := d.rng.IntN(len(d.verdicts))
	do := d.verdicts[i]
	d.verdicts = append(d.verdicts[:i], d.verdicts[i+1:]...)
	do()
	return true
}

// use is what a phone's owner does.
func (d *duet) use(p *phone) {
	n := d.rng.IntN(100)
	clean := d.rng.IntN(4) == 0
	switch {
	case n < 8:
		p.reading = !p.reading
	case p.sock == nil:
		p.connect(clean)
	case !d.calm && p.sock.conn.pace.held && d.rng.IntN(6) == 0: // while its messages wait for a lane
		d.hurry(p)
	case n < 8+d.churn:
		if d.rng.IntN(2) == 0 {
			p.connect(clean)
		} else {
			p.leave(d.rng.IntN(2) == 0)
		}
	case p.life == nil:
	case n < 30 && !d.calm:
		if f := filters[d.rng.IntN(len(filters))]; p.life.subs[f] == nil {
			p.subscribe(f, mqtt.QoS(d.rng.IntN(3)))
		}
	case n < 31 && !p.reading && d.rng.IntN(4) == 0:
		p.ping()
	default:
		for range 1 + d.rng.IntN(4) {
			topic := topics[d.rng.IntN(len(topics))]
			if to := d.phones[d.rng.IntN(len(d.phones))]; to.now != nil && d.rng.IntN(3) > 0 {
				topic = to.now.own() // also of sessions that have ended
			}
			size := d.rng.IntN(d.filler)
			if size > writeMax/4 && d.rng.IntN(8) > 0 {
				size %= 500
			}
			p.publish(topic, mqtt.QoS(d.rng.IntN(3)), size)
		}
	}
}

// turnsMax is how many turns the loops may take to bring to an end what is under
// way: a loop that goes round without an effect takes more.
const turnsMax = 20_000

// settle lets everything arrive and everybody read, until nothing moves.
func (d *duet) settle() {
	d.t.Helper()
	before := d.turns
	defer func() { d.longest = max(d.longest, d.turns-before) }()
	for moved := true; moved; {
		moved = false
		for _, s := range d.socks {
			s.txMax = 1 << 20
			if s != s.phone.sock && !s.leaves { // forgotten by its phone
				s.leaves, s.unsent = true, nil
			}
			moved = s.feed(len(s.unsent)) || moved
			moved = s.pump() || moved
			moved = s.phone.read(s) || moved
		}
		moved = d.verdict() || moved
		first := d.rng.IntN(2)
		for range d.rng.IntN(4) { // now and then the other is late, and the last to go round
			moved = d.turn(first) || moved
		}
		if !moved || d.rng.IntN(2) == 0 {
			moved = d.turn(1-first) || moved
			moved = moved || d.turn(first)
		}
		if d.turns-before > turnsMax {
			d.t.Fatalf("%d turns and still not at rest", turnsMax)
		}
	}
}

// play is one seed: some time of anything, then everybody comes back and is told
// what is owed, then everybody goes.
func (d *duet) play(steps int) {
	if d.calm {
		d.gather()
	}
	for range steps {
		d.act()
	}
	for _, p := range d.phones {
		p.reading = true
	}
	for tries := 0; ; tries++ { // an older CONNECT may still take a newer one's place
		d.settle()
		away := 0
		for _, p := range d.phones {
			if p.sock == nil {
				p.connect(false)
				away++
			}
		}
		if away == 0 {
			break
		}
		if tries > 10 {
			d.t.Fatalf("%d phones cannot come back", away)
		}
	}
	d.delivered()
	d.rested()
	for _, p := range d.phones {
		p.leave(true)
	}
	d.settle()
	d.clock.Advance(1001 * time.Second)
	for i, l := range d.server.loops {
		l.poll.wake()
		d.turn(i)
	}
	d.settle()
	d.ended()
}

// gather lets everybody come and subscribe first, so that it is certain for each
// message who must get it.
func (d *duet) gather() {
	for _, p := range d.phones {
		p.connect(true)
	}
	d.settle()
	for _, p := range d.phones {
		for _, f := range filters {
			if d.rng.IntN(2) == 0 {
				p.subscribe(f, mqtt.QoS(d.rng.IntN(3)))
			}
		}
	}
	d.settle()
}

// delivered: every message that was acknowledged, or needs no acknowledgement and
// was not dropped, has reached whom it had to.
func (d *duet) delivered() {
	missing := int64(0)
	for _, m := range d.messages {
		for to, q := range m.wanted {
			switch {
			case to.ended || to.got[m] > 0:
			case q == 0:
				missing++
			case m.acked:
				d.t.Errorf("%s to %s, QoS %d, was acknowledged and never reached %v, session %d", m.key(), m.topic, m.qos, to.phone, to.n)
			}
		}
	}
	if dropped := d.metrics.Value(metrics.MessagesDroppedInboxFull); d.calm && missing != dropped {
		d.t.Errorf("%d deliveries of QoS 0 are missing, %d were counted", missing, dropped)
	}
	for _, p := range d.phones {
		if len(p.life.flights) > 0 {
			d.t.Errorf("%v: %d messages were never acknowledged", p, len(p.life.flights))
		}
		if p.pings != 0 {
			d.t.Errorf("%v: %d of its PINGREQs have no answer", p, p.pings)
		}
		if len(p.life.open2) > 0 {
			d.t.Errorf("%v: %d messages of QoS 2 were never released", p, len(p.life.open2))
		}
		for filter, w := range p.life.subs {
			if !w.granted {
				d.t.Errorf("%v: no SUBACK for %s", p, filter)
			}
		}
	}
	for _, id := range []metrics.ID{metrics.MessagesDroppedQueueFull, metrics.MessagesDroppedExpired, metrics.MessagesDroppedTooLarge} {
		if n := d.metrics.Value(id); n > 0 {
			d.t.Errorf("%d dropped for a reason that there was not", n)
		}
	}
}

// rested: nothing waits anywhere, and nobody is held back.
func (d *duet) rested() {
	found := 0
	for _, l := range d.server.loops {
		in := &l.inbox
		if len(in.control)+len(in.data)+in.dataBytes+len(in.refused) > 0 {
			d.t.Errorf("loop %d: %d events, %d batches, %d bytes and %d senders wait", l.id, len(in.control), len(in.data), in.dataBytes, len(in.refused))
		}
		if waiting, publishers := inLanes(l.home); len(waiting)+publishers > 0 {
			d.t.Errorf("loop %d: %d batches and %d publishers wait for a lane", l.id, len(waiting), publishers)
		}
		for _, c := range l.conns {
			if c == nil {
				continue
			}
			found++
			if p := &c.pace; c.stage != open || p.held || p.timed || p.choked || c.greedy || !p.reading || !c.out.empty() || c.out.writing || c.half != nil {
				d.t.Errorf("%v: stage %d, pace %+v, %d bytes to send, %d bytes not understood", c.sock.(*simSocket).phone, c.stage, *p, c.out.cost(), len(c.half.rest()))
			}
		}
	}
	if found != len(d.phones) {
		d.t.Errorf("%d connections of %d phones", found, len(d.phones))
	}
	if n := d.metrics.Value(metrics.PublishersPaused); n != 0 {
		d.t.Errorf("%d publishers paused", n)
	}
}

// inLanes are the homes that h has something for, and how many publishers wait for
// a lane. It looks where only package broker may, so that no code exists for this
// test alone.
func inLanes(h *broker.Home) (homes map[int]bool, publishers int) {
	lanes := reflect.ValueOf(h).Elem().FieldByName("lanes")
	for i := range lanes.FieldByName("to").Len() {
		if !lanes.FieldByName("to").Index(i).FieldByName("batch").IsNil() {
			if homes == nil {
				homes = map[int]bool{}
			}
			homes[i] = true
		}
	}
	return homes, lanes.FieldByName("stalled").Len()
}

// ended: nothing is left of anybody.
func (d *duet) ended() {
	for what, n := range map[string]int64{
		"connections": d.server.live.Load(), "sessions": int64(d.server.broker.Sessions()), "subscriptions": int64(d.index.Stats().Subscribers),
		"bytes in queues": d.account.Held(), "bugs caught": d.metrics.Value(metrics.FaultsRecovered),
	} {
		if n != 0 {
			d.t.Errorf("%d %s left\n%s", n, what, d.log)
		}
	}
	held := 0
	for f := range d.frames {
		if reflect.ValueOf(f).Elem().FieldByName("refs").FieldByName("v").Int() != 0 {
			held++
		}
	}
	if held > 0 {
		d.t.Errorf("%d of %d frames were never given back", held, len(d.frames))
	}
}

// TestTwoLoops plays two loops against a plain model, with lanes so small that
// they are full most of the time in both directions. A seed that fails is played
// again with -run 'TestTwoLoops/seed=N$'.
func TestTwoLoops(t *testing.T) {
	const steps = 1000
	seeds := testkit.Seeds(40, 200)
	seen := map[string]int64{}
	played, longest := 0, 0
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			d := newDuet(t, seed)
			d.play(steps)
			played++
			for i, n := range d.refused {
				seen[fmt.Sprintf("batches of loop %d refused", i)] += int64(n)
			}
			seen["deliveries"] += int64(d.received)
			seen["turns"] += int64(d.turns)
			longest = max(longest, d.longest)
			for name, id := range map[string]metrics.ID{
				"sessions taken over": metrics.SessionsTakenOver, "sessions resumed": metrics.SessionsResumed, "QoS 0 dropped by a full lane": metrics.MessagesDroppedInboxFull,
				"messages for a session that had ended": metrics.MessagesDroppedNoSession, "publishers held back": metrics.PublisherPauses,
			} {
				seen[name] += d.metrics.Value(id)
			}
		})
	}
	if played < seeds {
		return // one seed by itself proves what it proves
	}
	t.Logf("%7d turns at most until everything was at rest", longest)
	var rare []string
	for name, n := range seen {
		t.Logf("%7d %s", n, name)
		if n < int64(testkit.Seeds(1, 50)) { // few seeds see the rarest few times
			rare = append(rare, name)
		}
	}
	if len(rare) > 0 {
		t.Errorf("hardly happened, so nothing is proved of it: %s", strings.Join(rare, ", "))
	}
}
