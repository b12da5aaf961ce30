package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/store/view"
)

// heal ends what ought not to happen, and lets the nodes come to rest without anybody new.
func (w *world) heal() {
	for len(w.log.late) > 0 {
		w.late()
	}
	for _, n := range w.nodes {
		if !n.up {
			n.start()
		}
		n.log.most, n.slow = 1000, 0
	}
	w.until(func() bool { return w.nodesSettle() })
	w.judgeHomes()
}

// rest goes on until everybody is connected and nothing more happens.
func (w *world) rest() {
	w.until(func() (any bool) {
		for _, c := range w.clients {
			if !c.alive() {
				c.arrive(w.nodes[w.rnd.IntN(len(w.nodes))])
				any = true
			}
		}
		return w.handleAll() || any
	})
}

// settled goes on until nothing more happens.
func (w *world) settled() { w.until(w.handleAll) }

// handleAll lets the clients read, and then the nodes do what they have to do.
func (w *world) handleAll() (any bool) {
	for _, c := range w.clients {
		for c.handle() {
			any = true
		}
	}
	return w.nodesSettle() || any
}

// until calls some until it has done nothing four times, while time goes by.
func (w *world) until(some func() (any bool)) {
	for quiet, rounds := 0, 0; quiet < 4; quiet++ {
		if rounds++; rounds > 2000 {
			w.fatal("it does not come to rest")
		}
		w.now = w.now.Add(200 * time.Millisecond)
		if some() {
			quiet = -1
		}
	}
}

// nodesSettle lets what is on its way arrive, and the nodes do what they have to do.
func (w *world) nodesSettle() (any bool) {
	for _, k := range w.conns {
		if k.gone {
			w.ghost(k)
		}
		for k.pass() {
			any = true
		}
	}
	for _, n := range w.nodes {
		n.home.Tick(n.clock())
		any = w.settle(n) || any
	}
	w.spread()
	return any
}

// settle lets a node do all that it has to do.
func (w *world) settle(n *node) (any bool) {
	n.turn()
	for n.log.commit() {
		any = true
	}
	w.look()
	for n.log.show() {
		any = true
	}
	any = n.room() || any
	any = n.wire.news(n.clock()) || any
	for n.read(w.rnd) || n.wire.release(w.rnd) {
		any = true
	}
	return any
}

// judge looks whether everybody has what was promised.
func (w *world) judge() {
	for _, c := range w.clients {
		if len(c.sending) > 0 || len(c.having) > 0 {
			w.fatal("%s is left with %v to settle and %v to release", c.name, c.sending, c.having)
		}
		if c.most > c.window {
			w.fatal("%s was sent %d messages, its window is %d", c.name, c.most, c.window)
		}
		w.judgeArrivals(c)
		for _, payload := range c.acked {
			for _, to := range w.said[payload].to {
				if !slices.Contains(to.got, payload) {
					w.fatal("%s was acknowledged and %s never had it: %v", payload, to.name, to.got)
				}
			}
		}
	}
	w.judgeOwners()
	w.judgeViews()
}

// judgeArrivals looks for order, and for what came twice.
func (w *world) judgeArrivals(c *client) {
	times, last := make(map[string]int), make(map[string]int)
	for _, payload := range c.got {
		u := w.said[payload]
		if times[payload]++; times[payload] > 1 {
			if c.durable && c.qos == 2 && u.qos == 2 && u.by.durable && slices.Contains(u.to, c) && !u.by.clean {
				w.fatal("%s had %s twice: %v", c.name, payload, c.got)
			}
			continue
		}
		if w.failed || !u.by.durable || u.by.clean || !slices.Contains(u.to, c) {
			continue // it may have been said again, after what was said later
		}
		class := fmt.Sprint(u.by.name, u.topic, u.qos)
		if n, ok := last[class]; ok && u.n < n {
			w.fatal("%s had %s after %s%d: %v", c.name, payload, u.by.name, n, c.got)
		}
		last[class] = u.n
	}
}

// owners are the nodes that have each client's session.
func (w *world) owners() map[string][]string {
	owners := make(map[string][]string)
	for _, n := range w.nodes {
		var at broker.Place
		for !n.home.Walk(&at, &broker.Selection{}, 1000, func(s broker.SessionInfo) bool {
			owners[s.Key.Identity] = append(owners[s.Key.Identity], n.name)
			return true
		}) {
		}
	}
	return owners
}

// judgeHomes looks whether each session that the log has is where the log says, and
// nowhere else: somebody looks after it, also if its client never comes back.
func (w *world) judgeHomes() {
	owners := w.owners()
	if err := w.nodes[0].view.Sessions(func(s *view.Session) error {
		if got := owners[s.Identity]; len(got) != 1 || got[0] != s.Node {
			w.fatal("the session of %s is on %v, and the log has it on %s", s.Identity, got, s.Node)
		}
		return nil
	}); err != nil {
		w.fatal("%v", err)
	}
}

// judgeOwners looks whether each session is where its client is connected.
func (w *world) judgeOwners() {
	owners := w.owners()
	for _, c := range w.clients {
		if got := owners[c.name]; c.durable && (len(got) != 1 || got[0] != c.conn.n.name) {
			w.fatal("the session of %s, connected to %s, is on %v", c.name, c.conn.n.name, got)
		}
	}
}

// judgeViews looks whether all nodes have the same view.
func (w *world) judgeViews() {
	first, at, err := w.nodes[0].view.Digest()
	if err != nil || at != w.log.end() {
		w.fatal("the view of %s is at %d of %d, %v", w.nodes[0].name, at, w.log.end(), err)
	}
	for _, n := range w.nodes[1:] {
		sum, on, err := n.view.Digest()
		if err != nil || on != at || sum != first || n.view.Hash() != w.nodes[0].view.Hash() {
			w.fatal("the view of %s is %x at %d, that of %s %x at %d, %v", n.name, sum[:4], on, w.nodes[0].name, first[:4], at, err)
		}
	}
}
