package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/broker"
)

// rest heals everything and goes on until nothing more happens.
func (w *world) rest() {
	for len(w.log.late) > 0 {
		w.late()
	}
	for _, n := range w.nodes {
		if !n.up {
			n.start()
		}
		n.log.most, n.slow = 1000, 0
	}
	for quiet, rounds := 0, 0; quiet < 4; quiet++ {
		if rounds++; rounds > 2000 {
			w.fatal("it does not come to rest")
		}
		w.now = w.now.Add(100 * time.Millisecond)
		for _, c := range w.clients {
			if !c.alive() {
				c.arrive(w.nodes[w.rnd.IntN(len(w.nodes))])
				quiet = 0
			}
			for c.handle() {
				quiet = 0
			}
		}
		for _, k := range w.conns {
			if k.gone {
				w.ghost(k)
			}
			for k.pass() {
				quiet = 0
			}
		}
		for _, n := range w.nodes {
			n.home.Tick(n.clock())
			if w.settle(n) {
				quiet = 0
			}
		}
		w.spread()
	}
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
	for n.read(w.rnd) {
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

// judgeOwners looks whether each session is in one place, and each client has one
// connection.
func (w *world) judgeOwners() {
	owners := make(map[string][]string)
	for _, n := range w.nodes {
		var at broker.Place
		for !n.home.Walk(&at, &broker.Selection{}, 1000, func(s broker.SessionInfo) bool {
			owners[s.Key.Identity] = append(owners[s.Key.Identity], n.name)
			return true
		}) {
		}
	}
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
