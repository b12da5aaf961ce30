package conn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

func (r *rig) shed(level load.Level, excess uint64) (closed int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	closed, err := r.server.Shed(ctx, level, excess)
	if err != nil {
		r.t.Fatal(err)
	}
	return closed
}

// Who has begun a packet and sends no more of it keeps what it has sent: it is closed
// when idle clients are. Who is only idle never is.
func TestShedClosesTheIdleThatKeepBuffers(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		idle := r.connect(mqtt.V5, "alice/idle", func(c *mqtt.Connect) { c.KeepAlive = 300 })
		half := r.connect(mqtt.V5, "bob/half", func(c *mqtt.Connect) { c.KeepAlive = 300 })
		p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte(strings.Repeat("x", 100<<10))}
		half.send(p.Append(nil, mqtt.V5)[:90<<10])
		r.settle()
		if n := r.shed(load.Idle, 1<<30); n != 0 {
			t.Errorf("%d closed who have just sent something", n)
		}
		r.pass(6 * time.Second)
		if n := r.shed(load.QoS0, 1<<30); n != 0 {
			t.Errorf("%d closed before their turn", n)
		}
		if n := r.shed(load.Idle, 1<<30); n != 1 {
			t.Errorf("%d closed, want one", n)
		}
		half.closed(mqtt.ServerBusy)
		r.becomes("closed for overload", 1, r.counted(metrics.ConnectionsClosedOverload))
		idle.silent()
		check()
	})
}

// Who does not read is closed when the lagging are, and neither who is idle nor who
// keeps up.
func TestShedClosesTheLagging(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		slow := r.connection() // nobody reads this one
		hardlyBuffers(slow)
		b := r.connectBytes(mqtt.V5, "slow", func(c *mqtt.Connect) { c.KeepAlive = 600 })
		b = (&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "open/#", QoS: 1}}}).Append(b, mqtt.V5, 0)
		if _, err := slow.Write(b); err != nil {
			t.Fatal(err)
		}
		r.becomes("subscriptions", 2, r.counted(metrics.Subscriptions))
		pub := r.connect(mqtt.V5, "bob/p")
		for i := range 300 {
			pub.publish("open/x", strings.Repeat("x", 30_000), 1, uint16(i+1))
			pub.acked(mqtt.PUBACK, uint16(i+1))
		}
		if n := r.shed(load.Idle, 1<<30); n != 0 {
			t.Errorf("%d closed before their turn", n)
		}
		if n := r.shed(load.Lagging, 1<<20); n != 1 {
			t.Errorf("%d closed, want one", n)
		}
		r.becomes("closed for overload", 1, r.counted(metrics.ConnectionsClosedOverload))
		check()
		_ = slow.Close()
	})
}

// A loop that is held up is late by as long as it is, and on time again after it.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		p, late := NewPulse(r.server), 0
		beat := func() time.Duration { d, loop := p.Beat(time.Now()); late = loop; synctest.Wait(); return d }
		beat()
		if d := beat(); d != 0 {
			t.Errorf("late by %v on an idle broker", d)
		}
		hold := make(chan struct{})
		r.server.loops[1].inbox.post(event{kind: evCall, fn: func(*Loop) { <-hold }})
		synctest.Wait()
		beat()
		time.Sleep(3 * time.Second)
		if d := beat(); d != 3*time.Second || late != 1 {
			t.Errorf("a loop that does not answer for 3 s is late by %v, and it was loop %d", d, late)
		}
		time.Sleep(2 * time.Second)
		close(hold)
		synctest.Wait()
		if d := beat(); d != 5*time.Second || late != 1 {
			t.Errorf("it was late by %v, want 5 s, and it was loop %d", d, late)
		}
		if d := beat(); d != 0 {
			t.Errorf("late by %v when all is well", d)
		}
	})
}

// A pass over loops of which one does not answer ends with its caller's patience.
func TestShedDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		hold := make(chan struct{})
		r.server.loops[1].inbox.post(event{kind: evCall, fn: func(*Loop) { <-hold }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.server.Shed(ctx, load.Lagging, 1<<20); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ends with %v", err)
		}
		close(hold)
		r.close()
		if _, err := r.server.Shed(context.Background(), load.Lagging, 1<<20); !errors.Is(err, ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// What all loops may take together is shared out, and what they have taken is known.
func TestAllowIsSharedOut(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		before := r.server.Taken()
		check()
		r.becomes("taken", 1, func() int64 { return min(1, r.server.Taken()-before) })
		pub := r.connect(mqtt.V5, "bob/p", func(c *mqtt.Connect) { c.KeepAlive = 600 })
		r.server.Allow(0)
		pub.publish("open/x", "x", 0, 0)
		r.becomes("pauses", 1, r.counted(metrics.OverloadPauses))
		r.becomes("publishers that wait", 1, r.counted(metrics.PublishersPaused))
		r.server.Allow(1 << 60)
		r.pass(time.Second)
		pub.publish("open/x", "y", 0, 0)
		r.becomes("messages", 2, r.counted(metrics.MessagesUnmatched))
	})
}

// What clients keep is found with them, with their listener, and in sum.
func TestSurveyFindsWhoKeepsMemory(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		before, err := r.server.Survey(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		half := r.connect(mqtt.V5, "bob/half", func(c *mqtt.Connect) {
			c.KeepAlive, c.Will = 300, &mqtt.Will{Topic: "own/bob/w", Payload: make([]byte, 3000)}
		})
		half.subscribe("own/bob/x", 1)
		p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte(strings.Repeat("x", 100<<10))}
		half.send(p.Append(nil, mqtt.V5)[:90<<10])
		var after *Survey
		r.becomes("seen", 1, func() int64 {
			if after, err = r.server.Survey(context.Background()); err != nil {
				t.Fatal(err)
			}
			return min(1, max(0, after.Connections-before.Connections)/(90<<10))
		})
		sessions, router, conns := after.Sessions-before.Sessions, after.Router-before.Router, after.Connections-before.Connections
		if sessions < 3000 || sessions > 8000 || router < 250 || router > 1000 || conns > 250<<10 {
			t.Errorf("sessions %d, router %d, connections %d more", sessions, router, conns)
		}
		if more := after.Listeners["test"] - before.Listeners["test"]; more != sessions+router+conns {
			t.Errorf("the listener has %d more, all is %d", more, sessions+router+conns)
		}
		for _, c := range r.listed(&broker.Selection{ClientID: "half"}, 10) {
			if c.SessionInfo.Held.Will < 3000 || c.Connection.Held < 90<<10 || c.SessionInfo.Held.Sum()+c.Connection.Held != sessions+router+conns {
				t.Errorf("the client: %+v and %d for its connection", c.SessionInfo.Held, c.Connection.Held)
			}
		}
		check()
	})
}
