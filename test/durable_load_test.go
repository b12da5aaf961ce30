package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// This file is the load: publishers and subscribers with durable sessions, and the
// broker that is killed under them.

// plan is what a load is to do. A load that did less than it must is invalid, which
// is a failure: it has proved nothing.
type plan struct {
	row                     string // of the list of proofs
	qos                     mqtt.QoS
	publishers, subscribers int
	messages                int                       // acknowledged ones that are wanted
	least                   int                       // and that make the run valid
	kills                   int                       // of the broker
	cuts                    int                       // sockets of clients that are cut between two of them
	flushes                 int                       // kills that must hit the broker while it flushes a file
	rate                    float64                   // messages a second it must bear while it is up; 0: any
	recovery                time.Duration             // longest start; 0: any
	away                    bool                      // subscribers are away until everything is published, and is stored
	power                   func(t *testing.T) supply // whose cut goes with each kill; nil: none
	budget                  time.Duration             // for publishing; what is missing from messages then is the factor
}

// supplies is the power of the broker, if it is to be cut.
func (p *plan) supplies(t *testing.T) []supply {
	if p.power == nil {
		return nil
	}
	return []supply{p.power(t)}
}

// What a publisher, and the broker to a subscriber, have unacknowledged at most; and
// how many of the last subscribers listen to a group of publishers each, beside those
// who listen to one.
const (
	senderWindow   = 16
	receiverWindow = 32
	groups         = 4
)

// seedOf is the seed of this run: the one that was asked for, or a new one. It decides
// when is killed and who is cut; what the network and the kernel do is theirs.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64N(1 << 32)
	if text := os.Getenv("REDOUBT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("REDOUBT_SEED: %v", err)
		}
	}
	t.Logf("seed %d (to run with it again: REDOUBT_SEED=%d)", seed, seed)
	return seed
}

// load is one run of a plan.
type load struct {
	*plan
	t      *testing.T
	k      *killable
	random *rand.Rand
	begun  time.Time
	acked  atomic.Int64

	senders   []*sender
	receivers []*receiver
	enough    chan struct{} // closed: publish nothing new
	come      chan struct{} // closed: who is away comes back

	stop                  context.CancelFunc // of every client
	publishing, listening sync.WaitGroup

	outages []outage        // all of them
	starts  []time.Duration // of each start after a kill under load
	served  time.Duration   // that the broker was up while there was something to publish
	flushed int             // kills within a flush

	disturbed int // sockets that were cut
}

// run plays the plan and answers what it has written down, when every client has
// ended.
func (p *plan) run(t *testing.T) *load {
	t.Helper()
	seed := seedOf(t)
	l := &load{plan: p, t: t, k: newKillable(t, false, p.supplies(t)...), random: rand.New(rand.NewPCG(seed, 1)), begun: time.Now(), enough: make(chan struct{}), come: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	l.stop = stop
	t.Cleanup(l.halt)
	l.subscribe(ctx)
	l.publish(ctx)
	l.torment()
	l.finish(ctx)
	return l
}

func (l *load) link(id string, i int) link {
	v := mqtt.V5
	if i%4 == 3 {
		v = mqtt.V311 // a session that is not clean is as durable as one with an expiry
	}
	return link{addr: fmt.Sprintf("127.0.0.1:%d", l.k.options.ListenerTCP), secret: l.k.secret, id: id, version: v, receiveMax: receiverWindow}
}

// topicOf is a level for the group and one for the publisher.
func topicOf(publisher int) string {
	return mine(fmt.Sprintf("load/%d/%d", publisher%groups, publisher))
}

var endTopic = mine("load/end")

// subscribe connects the subscribers and waits until all have their subscriptions.
// Each listens to one publisher, and the last few to a group.
func (l *load) subscribe(ctx context.Context) {
	l.t.Helper()
	for i := range l.subscribers {
		r := &receiver{link: l.link(fmt.Sprintf("sub-%03d", i), i), qos: l.qos, begun: l.begun, open: make(map[uint16]bool), ready: make(chan struct{}), ended: make(chan struct{})}
		if l.away {
			r.away = l.come
		}
		if g := i - (l.subscribers - groups); g < 0 {
			r.from, r.filters = []uint16{uint16(i % l.publishers)}, []string{topicOf(i % l.publishers), endTopic}
		} else {
			r.filters = []string{mine(fmt.Sprintf("load/%d/+", g)), endTopic}
			for no := g; no < l.publishers; no += groups {
				r.from = append(r.from, uint16(no))
			}
		}
		l.receivers = append(l.receivers, r)
		l.listening.Go(func() { r.run(ctx) })
	}
	for _, r := range l.receivers {
		if !l.wait(r.ready, patience, r.id+" has no subscription") {
			l.t.FailNow()
		}
	}
}

func (l *load) publish(ctx context.Context) {
	for i := range l.publishers {
		s := &sender{link: l.link(fmt.Sprintf("pub-%03d", i), i), no: uint16(i), topic: topicOf(i), qos: l.qos, window: senderWindow, enough: l.enough, begun: l.begun, acked: &l.acked, again: make(map[uint32]int)}
		l.senders = append(l.senders, s)
		l.publishing.Go(func() { s.run(ctx) })
	}
}

// torment kills and cuts as planned, and ends the publishing when there is enough of
// it. The kills are spread at random over the messages that are wanted, or over the
// time there is for them, whichever passes first.
func (l *load) torment() {
	l.t.Helper()
	begun, up := time.Now(), time.Now()
	for k := range l.kills {
		l.alive()
		share := (float64(k) + l.random.Float64()) / float64(l.kills)
		due := begun.Add(time.Duration(share * float64(l.budget)))
		if l.cuts > 0 {
			l.cut(min(time.Until(due), l.budget/time.Duration(2*l.kills)))
		}
		within(time.Until(due), func() bool { return float64(l.acked.Load()) >= share*float64(l.messages) })
		if l.random.IntN(2) == 0 && l.k.inFlush(300*time.Millisecond) {
			l.flushed++
		} else {
			<-time.After(time.Duration(l.random.IntN(20)) * time.Millisecond) // between two looks at the count
		}
		l.served += time.Since(up)
		l.strike()
		up = time.Now()
	}
	if l.cuts > 0 && l.kills == 0 {
		l.cut(l.budget / 2)
	}
	l.alive()
	within(l.budget-time.Since(begun), func() bool { return l.acked.Load() >= int64(l.messages) })
	soon(func() bool { return l.acked.Load() >= int64(l.least) }) // a slow machine is given some more
	l.served += time.Since(up)
	close(l.enough)
}

// alive waits until every publisher's window has been acknowledged once since the
// last start, on average: a kill must meet a load.
func (l *load) alive() {
	l.t.Helper()
	from, want := l.acked.Load(), int64(l.publishers*senderWindow)
	if !soon(func() bool { return l.acked.Load() >= from+want }) {
		l.halt()
		l.t.Fatalf("after start %d the load does not come back: %d messages acknowledged\n%s", len(l.outages), l.acked.Load()-from, strings.Join(l.complaints(), "\n"))
	}
}

// strike is one kill, and now and then another one while the broker starts again.
func (l *load) strike() {
	l.t.Helper()
	o := outage{down: stampOf(l.begun)}
	l.k.kill()
	if l.random.IntN(4) == 0 {
		o.up = o.down // it did not serve in between
		l.outages = append(l.outages, o)
		l.k.stillborn(time.Duration(l.random.IntN(300)) * time.Millisecond)
		o.down = stampOf(l.begun)
	}
	l.starts = append(l.starts, l.k.again())
	o.up = stampOf(l.begun)
	l.outages = append(l.outages, o)
}

// cut cuts the sockets of clients, of either kind, at random moments of a while.
func (l *load) cut(while time.Duration) {
	for range l.cuts {
		<-time.After(time.Duration(l.random.Float64() * float64(max(0, while)) / float64(l.cuts)))
		all := l.links()
		if all[l.random.IntN(len(all))].disturb() {
			l.disturbed++
		}
	}
}

// finish settles the publishers, lets the subscribers have what waits for them, and
// ends everybody.
func (l *load) finish(ctx context.Context) {
	l.t.Helper()
	settled := make(chan struct{})
	l.listening.Go(func() { l.publishing.Wait(); close(settled) })
	l.wait(settled, 2*patience, "publishers are not settled")
	if l.away {
		l.strike()
		close(l.come)
	}
	end := time.Now().Add(2*patience + time.Duration(l.messages)*100*time.Microsecond)
	for l.ending(ctx); !within(patience/3, l.ended) && time.Now().Before(end); {
		l.ending(ctx) // for those whose session, and with it the first one, was gone
	}
	if n := l.waiting(); n > 0 {
		l.t.Errorf("%d subscribers have not got the last message", n)
	}
	l.halt()
}

// halt ends every client and waits for it. What they have written down may be read
// from here on.
func (l *load) halt() {
	l.stop()
	l.publishing.Wait()
	l.listening.Wait()
}

// ending publishes the message behind all others.
func (l *load) ending(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	last := &sender{link: l.link("end", 0), no: endOf, topic: endTopic, qos: l.qos, window: 1, last: 1, begun: l.begun, acked: new(atomic.Int64), again: make(map[uint32]int)}
	last.run(ctx)
}

// waiting is how many subscribers have not got it.
func (l *load) waiting() (n int) {
	for _, r := range l.receivers {
		if !r.drained() {
			n++
		}
	}
	return n
}

func (l *load) ended() bool { return l.waiting() == 0 }

// wait waits for a step of the whole.
func (l *load) wait(done <-chan struct{}, limit time.Duration, what string) bool {
	l.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		l.t.Errorf("after %v: %s", limit.Round(time.Second), what)
		return false
	}
}
