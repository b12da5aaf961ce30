package conn

import (
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// stuckLog takes everything and decides nothing by itself: its disk hangs.
type stuckLog struct {
	store.Log // nil: nobody here asks it for more

	mu   sync.Mutex // guards everything below
	done []func(store.Seq, error)
}

func (l *stuckLog) Submit(_ store.ShardID, _ []store.Record, done func(store.Seq, error)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = append(l.done, done)
	return true
}

// waiting is how much it took and has not answered.
func (l *stuckLog) waiting() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.done))
}

// refuse refuses all that it took.
func (l *stuckLog) refuse(err error) {
	l.mu.Lock()
	done := l.done
	l.done = nil
	l.mu.Unlock()
	for _, d := range done {
		d(0, err)
	}
}

// noIndex is the view of a log that has nothing.
type noIndex struct{ broker.Index }

func (noIndex) Group(fact.FilterID) (g view.Group, known bool) { return g, false }

func (l *stuckLog) on(r *rig) {
	r.durable = &broker.Durable{Log: l, Index: noIndex{}, Key: &fact.Key{}, Node: "n", Do: func(func()) {}}
}

func lasting(p *mqtt.Connect) { p.SessionExpiry = 1000 }

// clientsOfBothLoops are names of sessions of which each loop has some, so that a CONNECT
// moves between loops or does not.
var clientsOfBothLoops = []string{"alice/a", "alice/b", "alice/c", "alice/d"}

// A clean start waits for the log to hear of the end of the session before. It has no longer
// for that than for CONNECT, and nothing that it sends meanwhile is looked at.
func TestACleanStartThatTheLogDoesNotHearOf(t *testing.T) {
	log := &stuckLog{}
	play(t, func(r *rig) {
		for _, who := range clientsOfBothLoops {
			old := r.connect(mqtt.V5, who, lasting)
			c := r.dial(mqtt.V5, who)
			p := mqtt.Connect{
				Version: mqtt.V5, CleanStart: true, ClientID: who[6:], Username: "alice", HasUsername: true,
				HasPassword: true, Password: []byte("pw-alice"), ReceiveMaximum: 100,
			}
			c.send(append(p.Append(nil, mqtt.V5, 0), 0xc0, 0x00))
			old.closed(mqtt.SessionTakenOver)
			c.silent()
			r.pass(8 * time.Second)
			c.silent()
			r.becomes("connections after 8 s", 1, r.connections)
			r.pass(2 * time.Second)
			c.closed(noPacket)
			r.becomes("connections after 10 s", 0, r.connections)
		}
	}, log.on)
}

// What the log refuses the client is refused.
func TestACleanStartThatTheLogRefuses(t *testing.T) {
	log := &stuckLog{}
	play(t, func(r *rig) {
		for _, who := range clientsOfBothLoops {
			r.connect(mqtt.V5, who, lasting)
			c := r.dial(mqtt.V5, who)
			r.settle()
			before := log.waiting()
			p := mqtt.Connect{
				Version: mqtt.V5, CleanStart: true, ClientID: who[6:], Username: "alice", HasUsername: true,
				HasPassword: true, Password: []byte("pw-alice"), ReceiveMaximum: 100,
			}
			c.send(p.Append(nil, mqtt.V5, 0))
			c.silent()
			r.becomes("what the log was told more", 1, func() int64 { return min(1, log.waiting()-before) })
			log.refuse(store.ErrFull)
			if got := c.expect(mqtt.CONNACK); mqtt.ReasonCode(got.body[1]) != mqtt.QuotaExceeded {
				t.Errorf("CONNACK % x", got.body)
			}
			r.becomes("connections", 0, r.connections)
		}
	}, log.on)
}

// Who waits for the log keeps a place among the clients of its identity, and has given it back
// when it is told that it does not come in: its time is over, or the log refuses.
func TestWhoDoesNotComeGivesItsPlaceBack(t *testing.T) {
	log := &stuckLog{}
	playTCP(t, func(r *rig) {
		for how, end := range map[string]func(c *client){
			"its time is over": func(c *client) {
				r.pass(10 * time.Second)
				c.closed(noPacket)
			},
			"the log refuses": func(c *client) {
				log.refuse(store.ErrFull)
				c.expect(mqtt.CONNACK)
			},
		} {
			for _, who := range clientsOfBothLoops {
				who += how[4:5] // the log hears of no end
				r.connect(mqtt.V5, who, lasting)
				c := r.dial(mqtt.V5, who)
				p := mqtt.Connect{
					Version: mqtt.V5, CleanStart: true, ClientID: who[6:], Username: "alice", HasUsername: true,
					HasPassword: true, Password: []byte("pw-alice"), ReceiveMaximum: 100,
				}
				c.send(p.Append(nil, mqtt.V5, 0))
				c.silent()
				if _, ack := r.tryConnect(mqtt.V5, "alice/other"); ack.Reason != mqtt.QuotaExceeded {
					r.t.Fatalf("%s, %s: beside one that waits: %v", how, who, ack.Reason)
				}
				end(c)
				next, ack := r.tryConnect(mqtt.V5, "alice/other")
				if ack.Reason != mqtt.Success {
					r.t.Fatalf("%s, %s: the next is told %v", how, who, ack.Reason)
				}
				next.send([]byte{0xe0, 0})
				next.closed(noPacket)
				log.refuse(store.ErrFull) // what is left to be said
				r.becomes("connections", 0, r.connections)
			}
		}
	}, log.on, func(r *rig) { r.set.Newcomers.Most = 1 })
}
