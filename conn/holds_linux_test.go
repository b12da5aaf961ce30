package conn

import (
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Who is silent because we do not read him, such as a publisher whose messages wait for the
// disk, is not idle: a slow disk must not have publishers closed who do as they are told.
func TestWhoIsNotReadIsNotIdle(t *testing.T) {
	play(t, func(r *rig) {
		half := r.connect(mqtt.V5, "bob/half", func(c *mqtt.Connect) { c.KeepAlive = 300 })
		p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte(strings.Repeat("x", 100<<10))}
		half.send(p.Append(nil, mqtt.V5)[:90<<10])
		r.settle()
		of := func(do func(l *Loop, c *Conn)) {
			r.onLoops(func(l *Loop) {
				for _, c := range l.conns {
					if c != nil && c.stage == open {
						do(l, c)
					}
				}
			})
		}
		of(func(l *Loop, c *Conn) { l.Pause(c.ref, time.Time{}) })
		r.pass(20 * time.Second)
		if n := r.shed(load.Idle, 1<<30); n != 0 {
			t.Errorf("%d closed who could not be heard", n)
		}
		of(func(l *Loop, c *Conn) { l.Resume(c.ref) })
		r.pass(6 * time.Second)
		if n := r.shed(load.Idle, 1<<30); n != 1 {
			t.Errorf("%d closed who could be heard and was not, want one", n)
		}
		half.closed(mqtt.ServerBusy)
	})
}
