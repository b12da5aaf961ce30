package conn

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/listener"
)

// Strangers that came together are late together. They are closed in turns, so that others do not
// wait for it, when their deadline has come as well as when patience is short; and the loop asks for
// those turns.
func TestThoseWhoAreLateAreClosedInTurns(t *testing.T) {
	for _, short := range []bool{false, true} {
		t.Run(fmt.Sprint("short of patience ", short), func(t *testing.T) {
			r := newRealRig(t, nil)
			r.limits(listener.DoorLimits{ConnectionsTotal: 500, UnauthenticatedTotal: 500, HandshakesTotal: 500, ConnectDeadline: 10 * time.Second})
			const many = 5 * overduePerTurn
			var crowd []net.Conn
			for i := range many {
				crowd = append(crowd, r.knockFrom(fmt.Sprintf("127.0.1.%d", 1+i)))
			}
			present := func() (n int) {
				r.onLoops(func(l *Loop) {
					for _, c := range l.conns {
						if c != nil {
							n++
						}
					}
				})
				return n
			}
			r.becomes("strangers", many, func() int64 { return int64(present()) })
			r.onLoops(func(l *Loop) {
				l.now = l.now.Add(11 * time.Second)
				if !short {
					l.before = strangers{} // the wheel alone
				} else {
					for _, c := range l.conns {
						if c != nil {
							l.timers.Clear(c.ref.Slot)
						}
					}
				}
				for left := -1; left != 0; {
					before := 0
					for _, c := range l.conns {
						if c != nil {
							before++
						}
					}
					l.again = false
					l.tick()
					l.lookAtStrangers()
					left = 0
					for _, c := range l.conns {
						if c != nil {
							left++
						}
					}
					switch {
					case before-left > overduePerTurn:
						t.Errorf("%d of %d were closed in one turn", before-left, before)
						return
					case left > 0 && !l.again:
						t.Errorf("%d wait and no turn was asked for", left)
						return
					case left > 0 && before == left:
						t.Errorf("%d wait and are not closed", left)
						return
					}
				}
			})
			for _, c := range crowd {
				_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Fatal("somebody was told something")
				}
			}
		})
	}
}

// A client that was heard in time costs next to nothing when its timer is looked at, and takes no room
// from those who are late: with many of them, deadlines would be late by minutes.
func TestWhoWasHeardTakesNoRoomOfThoseWhoAreLate(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	r.limits(listener.DoorLimits{ConnectionsTotal: 500, UnauthenticatedTotal: 500, HandshakesTotal: 500, ConnectDeadline: 10 * time.Second})
	const many = 3 * overduePerTurn
	for i := range many {
		if err := r.enters(r.knockFrom(fmt.Sprintf("127.0.2.%d", 1+i)), fmt.Sprint("c", i)); err != nil {
			t.Fatal(err)
		}
	}
	r.onLoops(func(l *Loop) {
		n := 0
		for _, c := range l.conns {
			if c != nil && c.stage == open {
				n++
				l.timers.Set(c.ref.Slot, l.now)
			}
		}
		l.again = false
		l.now = l.now.Add(time.Second)
		l.lookAtLate()
		if next := l.timers.Next(); n > 0 && (l.again || !next.After(l.now)) {
			t.Errorf("of %d clients that were heard some wait for another turn (%v, %v)", n, l.again, next.Sub(l.now))
		}
	})
}
