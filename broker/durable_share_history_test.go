package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// crew is a group at work: publishers, members that come, go, leave, end and are killed,
// and a log that is slow, refuses things and loses its process.
type crew struct {
	t       *testing.T
	seed    uint64
	rnd     *rand.Rand
	k       *keptDesk
	pubs    []*patron
	workers []*worker
	n       int
	qos     map[string]mqtt.QoS // of what was published
	tidy    bool                // the log lets go of things now and then
	dead    map[string]bool     // was sent to a session that has ended since, or to one that is in memory only
}

type worker struct {
	*patron
	steady bool // never ends and never leaves: the group always has a member
	kept   bool
	qos    mqtt.QoS
	wire   map[string]bool // payloads that were sent to its session
}

func newCrew(t *testing.T, seed uint64) *crew {
	c := &crew{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 23)), qos: make(map[string]mqtt.QoS), dead: make(map[string]bool)} //nolint:gosec // a test
	c.k = newKeptDesk(t, 2, func(s *Settings) {
		s.Session.InflightMax, s.Session.MqueueMessages = 6, 5000
		s.SharedStrategy = router.Strategy(seed % 3)
	})
	if c.tidy = seed%3 == 1; c.tidy { // with others the index is made anew after each crash
		c.k.fs = vfs.NewCrashableMem()
		c.k.crash()
	}
	for i, user := range []string{"p", "q"} {
		c.pubs = append(c.pubs, c.k.patron(i, user, window(20)))
	}
	for i, user := range []string{"a", "b", "c", "d", "e"} {
		w := &worker{steady: i == 0, kept: user != "e" || seed%3 != 0, qos: mqtt.QoS(1 + c.rnd.IntN(2)), wire: make(map[string]bool)} //nolint:gosec // 1 or 2
		how := []func(*mqtt.Connect){window(uint16(1 + c.rnd.IntN(6)))}                                                               //nolint:gosec // small
		if !w.kept {
			how = append(how, fleeting)
		}
		w.patron = c.k.patron(i%2, user, how...)
		c.workers = append(c.workers, w)
	}
	first := c.workers[0]
	first.arrive()
	first.subscribe("$share/g/open/+", first.qos)
	c.k.rest()
	for first.handle() {
	}
	return c
}

func (c *crew) fatal(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("seed %d: %s", c.seed, fmt.Sprintf(format, args...))
}

// note remembers what is on its way to a worker.
func (w *worker) note() {
	if w.online {
		w.drain()
		for i := range w.inbox {
			if o := &w.inbox[i]; o.Kind == session.OutPublish {
				w.wire[nameOf(o.Frame.Payload())] = true
			}
		}
	}
}

// lost says that a session has ended: what was sent to it at QoS 2 dies with it.
func (c *crew) lost(w *worker) {
	for payload := range w.wire {
		c.dead[payload] = true
	}
	w.wire = make(map[string]bool)
}

func (c *crew) step() {
	w, p := c.workers[c.rnd.IntN(len(c.workers))], c.pubs[c.rnd.IntN(2)]
	for _, w := range c.workers {
		w.note()
	}
	switch n := c.rnd.IntN(100); {
	case n < 6:
		c.toggle(w)
	case n < 8:
		if !p.alive() {
			p.arrive()
		} else if c.rnd.IntN(3) == 0 {
			p.cut()
		}
	case n < 20:
		c.publish(p)
	case n < 24:
		if w.alive() && len(w.asking) == 0 {
			w.subscribe("$share/g/open/+", w.qos)
		}
	case n < 26:
		// Where the log refuses to hear that a member leaves, what was taken for it meanwhile is
		// nobody's: not with a log that refuses.
		if !w.steady && w.alive() && c.seed%2 == 1 && c.rnd.IntN(2) == 0 {
			w.seat.h().Unsubscribe(c.k.now, w.seat.ref, &mqtt.Unsubscribe{PacketID: 9, Filters: []string{"$share/g/open/+"}})
		}
	case n < 27:
		c.end(w)
	case n < 55:
		w.handle()
	case n < 60:
		p.handle()
	case n < 69:
		c.k.turn()
	case n < 76:
		c.k.log.commit()
	case n < 84:
		c.k.log.show()
	case n < 90:
		c.k.wires[c.rnd.IntN(2)].news()
	case n < 94:
		c.k.readOne(c.rnd)
	case n < 95:
		c.k.now = c.k.now.Add(time.Duration(c.rnd.IntN(4000)) * time.Millisecond)
		for _, h := range c.k.homes {
			h.Tick(c.k.now)
		}
	case n < 96:
		if c.seed%2 == 0 {
			c.k.log.fail(store.ErrFull, false)
		}
	case n < 97:
		c.k.log.most = 1 + c.rnd.IntN(4)
	case n < 98:
		c.k.log.most = 1000
		c.k.room()
	case n < 99:
		if w.alive() {
			if r := w.seat.resident(); c.rnd.IntN(2) == 0 {
				r.s.Congest()
				w.seat.h().tellGroups(r)
			} else {
				w.seat.h().Writable(c.k.now, w.seat.ref)
			}
		}
	case c.rnd.IntN(3) == 0:
		c.crash()
	}
	if c.tidy && c.rnd.IntN(20) == 0 {
		if err := c.k.tidyUp(c.rnd); err != nil {
			c.fatal("%v", err)
		}
	}
}

func (c *crew) toggle(w *worker) {
	switch {
	case !w.alive():
		if !w.kept {
			c.lost(w)
		}
		w.arrive()
	case c.rnd.IntN(2) == 0:
		w.cut()
	}
}

// end ends a session, from outside or by a clean start.
func (c *crew) end(w *worker) {
	if w.steady || w.seat.d != c.k.desk || w.seat.resident() == nil || c.rnd.IntN(2) == 0 {
		return
	}
	if c.rnd.IntN(2) == 0 {
		if w.online {
			w.cut()
		}
		c.lost(w)
		w.fresh, w.having = true, nil
		w.arrive()
		return
	}
	w.seat.h().End(c.k.now, w.seat.ref)
	c.k.now = c.k.now.Add(time.Millisecond) // or its next claim is as old as its last, if the log does not take the end
	if w.online {
		w.gone()
	}
	c.lost(w)
}

func (c *crew) publish(p *patron) {
	if !p.alive() || len(p.sending) >= 6 {
		return
	}
	payload := fmt.Sprint("m", c.n)
	c.n++
	q := mqtt.QoS(1 + c.rnd.IntN(2)) //nolint:gosec // 1 or 2
	c.qos[payload] = q
	p.publish("open/"+string('a'+rune(c.rnd.IntN(3))), payload, q, false)
}

func (c *crew) crash() {
	for _, w := range c.workers {
		w.note()
		if w.online {
			w.gone()
		}
		if !w.kept { // what it was given, and had not been sent yet, was in memory
			c.lost(w)
		}
	}
	for _, p := range c.pubs {
		if p.online {
			p.gone()
		}
	}
	c.k.crash()
}

// finish lets everything come to rest; only some of the members come back.
func (c *crew) finish() {
	c.k.log.most = 1000
	if c.seed%2 == 0 { // what the log refused to hear of a session is in memory as if it had not
		c.crash()
	}
	for quiet := 0; quiet < 6; quiet++ {
		for _, p := range c.pubs {
			if !p.alive() {
				p.arrive()
				quiet = 0
			}
		}
		for i, w := range c.workers {
			switch {
			case i > int(c.seed%5): //nolint:gosec // small
				if w.alive() {
					w.note()
					w.cut()
				}
			case !w.alive():
				w.arrive()
				quiet = 0
			case w.seat.resident().s.Info().Congested:
				w.seat.h().Writable(c.k.now, w.seat.ref)
			}
		}
		c.k.pass(3 * time.Second)
		for _, w := range c.workers {
			for w.note(); w.handle(); w.note() {
				quiet = 0
			}
		}
		for _, p := range c.pubs {
			for p.handle() {
				quiet = 0
			}
		}
	}
	if c.seed%2 == 1 { // and then the others never do
		c.k.pass(1001 * time.Second)
		for _, w := range c.workers {
			if !w.alive() {
				c.lost(w)
			}
			for w.note(); w.handle(); w.note() {
				c.k.rest()
			}
		}
		c.k.pass(11 * time.Second)
		for _, w := range c.workers {
			for w.note(); w.handle(); w.note() {
				c.k.rest()
			}
		}
		c.k.pass(11 * time.Second)
	}
}

func (c *crew) judge() {
	had := make(map[string]int)
	for _, w := range c.workers {
		mine := make(map[string]int)
		for _, payload := range w.got {
			mine[payload]++
			if w.qos == 2 && c.qos[payload] == 2 && mine[payload] > 1 {
				c.fatal("%s had %s twice", w.user, payload)
			}
		}
		for payload := range mine {
			had[payload]++
		}
	}
	all2 := !slices.ContainsFunc(c.workers, func(w *worker) bool { return w.qos < 2 })
	for payload, n := range had {
		if all2 && c.qos[payload] == 2 && n > 1 {
			c.fatal("%s came to %d members", payload, n)
		}
	}
	for _, p := range c.pubs {
		for _, payload := range p.acked {
			if had[payload] == 0 && !c.dead[payload] && !c.waits(payload) && !c.fleeting(payload) && !c.begun(payload) {
				c.fatal("%s was acknowledged to %s and nobody had it", payload, p.user)
			}
		}
	}
	for _, l := range c.k.b.lines.all() {
		if n := l.coming.Load(); n != 0 || l.giving != 0 || l.owed.first != 0 || l.waiting() {
			c.fatal("the group is left with %+v, %d coming, %d giving, last %d, done %d", l.owed, n, l.giving, l.last.Load(), l.done.Load())
		}
		if g, _ := c.k.view.Group(l.id); c.seed%2 == 1 && len(g.Sources) != 1 {
			c.fatal("the group is left with %+v", g.Sources)
		}
	}
}

// waits tells whether a message is with a member that is away and was sent it.
func (c *crew) waits(payload string) bool {
	for _, w := range c.workers {
		if !w.alive() && w.wire[payload] {
			return true
		}
	}
	return false
}

// begun tells whether a message of QoS 2 died with its session, or is with one whose client
// is away: the log had heard that it is sent, and nobody knows whether it was.
func (c *crew) begun(payload string) bool {
	seqs, by := make(map[store.Seq]bool), make(map[store.SID]bool)
	for _, b := range c.k.log.batches {
		for i, r := range b.recs {
			var m fact.Message
			var t fact.Take
			var o fact.Outbox
			var cl fact.Claim
			switch {
			case r.Kind == store.Message && m.Decode(r.Body) == nil && nameOf(m.Payload) == payload,
				r.Kind == store.ShareAck && t.Decode(r.Body) == nil && t.Member != 0 && m.Decode(t.Body) == nil && nameOf(m.Payload) == payload:
				seqs[b.first+store.Seq(i)] = true
			case (r.Kind == store.Inflight || r.Kind == store.Ack) && o.Decode(r.Body) == nil:
				for _, e := range o.Entries {
					by[r.SID] = by[r.SID] || e.QoS == 2 && seqs[e.Seq]
				}
			case by[r.SID] && (r.Kind == store.Expire || r.Kind == store.Claim && cl.Decode(r.Body) == nil && cl.Clean):
				return true
			}
		}
	}
	for _, w := range c.workers {
		if by[w.sid(c.k)] && !w.alive() {
			return true
		}
	}
	return false
}

// patrons are the clients of the workers.
func (c *crew) patrons() (list []*patron) {
	for _, w := range c.workers {
		list = append(list, w.patron)
	}
	return list
}

// sid is the name of the worker's session in the log.
func (w *worker) sid(k *keptDesk) store.SID {
	by := principal(w.user)
	key, _ := k.b.Place(&by, "c")
	return k.view.Key().SID(key.Mountpoint, key.Identity, key.ClientID)
}

// fleeting tells whether a message may have been in memory only when a process ended: a
// member took it whose session ends with its connection.
func (c *crew) fleeting(payload string) bool {
	if c.seed%3 != 0 {
		return false
	}
	at := make(map[store.Seq]bool) // also of takes that came to nothing: which did is not looked at here
	for _, b := range c.k.log.batches {
		for i, r := range b.recs {
			var m fact.Message
			var t fact.Take
			switch {
			case r.Kind == store.Message && m.Decode(r.Body) == nil && nameOf(m.Payload) == payload:
				at[b.first+store.Seq(i)] = true
			case r.Kind == store.ShareAck && t.Decode(r.Body) == nil && at[t.Seq]:
				if t.Member == 0 {
					return true
				}
				at[b.first+store.Seq(i)] = true // and it may be given back
			}
		}
	}
	return len(at) == 0
}

// Whatever becomes of the members and of the process: what was acknowledged comes to
// somebody, and at QoS 2 to nobody twice and to no two.
func TestRandomGroupHistories(t *testing.T) {
	for seed := range uint64(testkit.Seeds(12, 120)) {
		c := newCrew(t, seed)
		for range 600 {
			c.step()
		}
		c.finish()
		c.judge()
		for _, p := range append(c.pubs, c.patrons()...) {
			if p.online {
				p.gone()
			}
		}
		c.k.crash() // it looks whether anything is still held
		if err := c.k.view.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
