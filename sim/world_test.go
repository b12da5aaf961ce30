package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/topic"
)

// world is all of it, and what happens next.
type world struct {
	t      *testing.T
	seed   uint64
	rnd    *rand.Rand
	now    time.Time
	policy *auth.Policy

	log       *replicated
	processes uint32 // that ever ran
	nodes     []*node
	clients   []*client
	conns     []*conn
	waits     []everywhere

	said      map[string]*utterance
	looked    int             // batches of the log that were looked at
	committed map[string]bool // payloads in them
	failed    bool            // the log refused something
	calm      int             // a client that may leave stays, all but one in so many times
	load      load
}

// load is how much happened, so that a test which tests nothing is noticed.
type load struct{ acked, got, crashes, late, moves int }

// utterance is a message, and who must have it if it is acknowledged.
type utterance struct {
	by    *client
	n     int
	topic string
	qos   mqtt.QoS
	to    []*client
}

// everywhere is somebody who waits until all nodes that are up have applied a record.
type everywhere struct {
	seq store.Seq
	do  func()
}

// fatal names the seed with which it happens again.
func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: %s", w.seed, fmt.Sprintf(format, args...))
}

// note writes down what happened, if that was asked for.
func (w *world) note(format string, args ...any) {
	if *tell {
		fmt.Printf(format+"\n", args...)
	}
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 5)), now: time.Unix(1_700_000_000, 0), //nolint:gosec // a test
		log: &replicated{next: 1}, said: make(map[string]*utterance), committed: make(map[string]bool),
	}
	w.calm = []int{1, 4, 12}[w.rnd.IntN(3)]
	var err error
	if w.policy, err = openRules(); err != nil {
		t.Fatal(err)
	}
	key := fact.Value{Name: "filters", Content: make([]byte, len(fact.Key{}))} // the same names in every run
	w.log.write(submitted{recs: []store.Record{{Kind: store.Key, Body: key.Append(nil)}}})
	for i := range 3 {
		n := &node{w: w, name: fmt.Sprintf("n%d", i), disk: vfs.NewCrashableMem(), skew: time.Duration(w.rnd.IntN(2000)-1000) * time.Millisecond}
		w.nodes = append(w.nodes, n)
		n.start()
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w.clients = append(w.clients, &client{
			w: w, name: name, durable: name != "e", clean: name == "d", qos: mqtt.QoS(1 + w.rnd.IntN(2)), window: 1 + w.rnd.IntN(8), //nolint:gosec // 1 or 2
			subs: make(map[string]bool),
		})
	}
	return w
}

// close ends all processes.
func (w *world) close() {
	for _, n := range w.nodes {
		if n.up {
			_ = n.view.Close() // a test that failed says so itself
		}
	}
}

// everywhere is broker.Durable's.
func (w *world) everywhere(seq store.Seq, do func()) {
	w.waits = append(w.waits, everywhere{seq, do})
}

// spread tells those who waited for what everybody has applied now.
func (w *world) spread() {
	w.waits = slices.DeleteFunc(w.waits, func(e everywhere) bool {
		for _, n := range w.nodes {
			if n.up && n.applied() < e.seq {
				return false
			}
		}
		e.do()
		return true
	})
}

var (
	filters = []string{"open/a", "open/b", "open/+", "open/#"}
	names   = []string{"open/a", "open/b", "open/a/b"}
)

// step does one thing.
func (w *world) step() {
	c, n := w.clients[w.rnd.IntN(len(w.clients))], w.nodes[w.rnd.IntN(len(w.nodes))]
	if n.slow > 0 {
		n.slow--
	}
	if n.up {
		w.nodeStep(n)
	}
	switch k := w.rnd.IntN(100); {
	case k < 2:
		if !c.alive() || w.rnd.IntN(w.calm) == 0 {
			w.toggle(c, n)
		}
	case k < 18:
		w.publish(c)
	case k < 22:
		if c.alive() && c.online && len(c.asking) == 0 {
			c.subscribe(filters[w.rnd.IntN(len(filters))])
		}
	case k < 40:
		for range 1 + w.rnd.IntN(4) {
			c.handle()
		}
	case k < 58:
		w.passSome()
	case k < 97:
		if n.up {
			w.nodeStep(n)
		} else if w.rnd.IntN(10) == 0 {
			n.start()
		}
	case k < 98:
		w.now = w.now.Add(time.Duration(w.rnd.IntN(400)) * time.Millisecond)
		for _, n := range w.nodes {
			if n.up {
				n.home.Tick(n.clock())
			}
		}
	case w.rnd.IntN(3) == 0:
		w.fault(n)
	}
}

// nodeStep lets something happen in a node.
func (w *world) nodeStep(n *node) {
	slow := n.slow > 0
	switch k := w.rnd.IntN(50); {
	case k < 13:
		n.turn()
	case k < 23:
		if !slow && n.log.commit() {
			w.look()
		}
	case k < 34:
		if !slow && n.log.show() {
			w.spread()
		}
	case k < 43:
		n.wire.news(n.clock())
	case k < 48:
		n.read(w.rnd)
	default:
		n.wire.release(w.rnd)
	}
}

// fault is something that ought not to happen.
func (w *world) fault(n *node) {
	switch k := w.rnd.IntN(10); {
	case k < 2:
		if n.up {
			w.note("%s crashes", n.name)
			n.crash(w.rnd)
			w.load.crashes++
			w.spread()
		}
	case k < 4:
		n.slow = w.rnd.IntN(200)
	case k < 7:
		w.late()
	case k < 8:
		if n.up {
			n.log.most = 1 + w.rnd.IntN(4)
		}
	case k < 9:
		if n.up {
			n.log.most = 1000
			n.room()
		}
	default:
		if n.up && w.seed%2 == 0 { // with every other seed the log refuses nothing, and the order is promised
			for range 1 + w.rnd.IntN(3) {
				n.log.fail()
			}
			w.failed = true
		}
	}
}

// late has a batch of a process that has ended arrive.
func (w *world) late() {
	if len(w.log.late) > 0 {
		s := w.log.late[0]
		w.log.late = w.log.late[1:]
		w.note("%d is late", w.log.end()+1)
		w.log.write(s)
		w.load.late++
		w.look()
	}
}

// toggle connects who is away, and takes who is there to another node, cuts it or has it
// cut.
func (w *world) toggle(c *client, n *node) {
	if c.alive() {
		c.leave(w.rnd.IntN(3) > 0)
		if w.rnd.IntN(2) == 0 {
			return
		}
	}
	if n.up {
		c.arrive(n)
	}
	if other := w.nodes[w.rnd.IntN(len(w.nodes))]; w.rnd.IntN(4) == 0 && other.up { // in two places at once
		if c.alive() {
			c.leave(false)
		}
		c.arrive(other)
	}
}

// passSome lets packets of some connection arrive.
func (w *world) passSome() {
	w.conns = slices.DeleteFunc(w.conns, func(k *conn) bool { return k.gone && (k.dead() || len(k.way) == 0 && !w.ghost(k)) })
	if len(w.conns) > 0 {
		k := w.conns[w.rnd.IntN(len(w.conns))]
		for range 1 + w.rnd.IntN(4) {
			k.pass()
		}
	}
}

// ghost gives back what is sent to a connection that nobody reads, and answers whether it
// may go on to exist.
func (w *world) ghost(k *conn) bool {
	for i := range k.link.sent {
		k.link.sent[i].Done()
	}
	k.link.sent = nil
	return true
}

func (w *world) publish(c *client) {
	if !c.alive() || !c.online || len(c.sending) >= 6 {
		return
	}
	w.utter(c, names[w.rnd.IntN(len(names))], mqtt.QoS(1+w.rnd.IntN(2))) //nolint:gosec // 1 or 2
}

// utter publishes, and remembers who must have it.
func (w *world) utter(c *client, name string, q mqtt.QoS) {
	u := &utterance{by: c, n: c.n, topic: name, qos: q}
	for _, to := range w.clients {
		if to.durable && to.wants(name) {
			u.to = append(u.to, to)
		}
	}
	w.said[c.publish(name, q)] = u
}

// wants tells whether a subscription that was granted matches.
func (c *client) wants(name string) bool {
	for filter := range c.subs {
		if topic.Match(filter, []byte(name)) {
			return true
		}
	}
	return false
}

// look notes what is in the log since the last look.
func (w *world) look() {
	for ; w.looked < len(w.log.batches); w.looked++ {
		for i, r := range w.log.batches[w.looked].recs {
			w.note("log %d: %v %x epoch %d %q", w.log.batches[w.looked].first+store.Seq(i), r.Kind, r.SID[:2], r.Epoch, r.Body) //nolint:gosec // a length
			var m fact.Message
			var c fact.Claim
			if r.Kind == store.Claim && c.Decode(r.Body) == nil && c.Moves {
				w.load.moves++
			}
			if r.Kind == store.Message && m.Decode(r.Body) == nil {
				w.committed[string(m.Payload)] = true
			}
		}
	}
}

// answered hears that a message was acknowledged: it is in the log if anybody must have it.
func (w *world) answered(_ *node, payload string) {
	if u := w.said[payload]; len(u.to) > 0 && !w.committed[payload] {
		w.fatal("%s is acknowledged and in no log", payload)
	}
}
