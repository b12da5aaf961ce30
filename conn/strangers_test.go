package conn

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// limits gives the door of r others.
func (r *rig) limits(l listener.DoorLimits) {
	r.t.Helper()
	if err := r.server.listeners[0].Door.Apply(l); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) counted(id metrics.ID) func() int64 {
	return func() int64 { return r.metrics.Value(id) }
}

// stands tells whether c's connection is still there.
func (c *client) stands() bool {
	select {
	case <-c.over:
		return false
	default:
		return true
	}
}

// While strangers fill the room there is for them, they have two seconds and not
// ten, those who wait already too; never less, and afterwards ten again (A003,
// D-01).
func TestPatienceIsShortUnderPressure(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		calm := r.dial(mqtt.V5, "calm")
		r.pass(4 * time.Second)
		r.becomes("connections after 4 s without pressure", 2, r.connections)
		r.limits(listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 8, HandshakesTotal: 100, ConnectDeadline: 10 * time.Second})
		var crowd []*client
		for i := range 7 {
			crowd = append(crowd, r.dial(mqtt.V5, fmt.Sprint("crowd", i)))
		}
		r.settle()
		calm.closed(noPacket) // it has had its two seconds
		r.becomes("connections, with the bystander", 8, r.connections)
		r.pass(1900 * time.Millisecond)
		r.becomes("connections before the two seconds are over", 8, r.connections)
		r.pass(4 * time.Second)
		left := func() (n int64) {
			for _, c := range crowd {
				if c.stands() {
					n++
				}
			}
			return n
		}
		r.becomes("too many or too few of 7 who stand, or somebody has not heard yet", 0, func() int64 { // at five of eight there are seven and a half seconds, at four ten
			if n := left(); n < 3 || n > 5 || r.connections() != n+1 {
				return n + 1
			}
			return 0
		})
		check()
		r.pass(6 * time.Second)
		r.becomes("connections after the whole deadline", 1, r.connections)
		check()
	})
}

// A deadline below two seconds stays what it is, and a reload changes that of
// connections that come after it.
func TestConnectDeadlineIsReloaded(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		old := r.dial(mqtt.V5, "old")
		r.becomes("connections", 2, r.connections)
		r.limits(listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, ConnectDeadline: 30 * time.Second})
		long := r.dial(mqtt.V5, "long")
		r.becomes("connections", 3, r.connections)
		r.pass(11 * time.Second)
		old.closed(noPacket)
		r.becomes("connections after 11 s", 2, r.connections)
		r.pass(17 * time.Second)
		r.becomes("connections after 28 s", 2, r.connections)
		r.pass(3 * time.Second)
		long.closed(noPacket)
		check()
	})
}

// Whatever is full, a stranger makes room for the next client, on whichever loop
// he is; a client that is in is never who does.
func TestStrangersMakeRoom(t *testing.T) {
	for name, limit := range map[string]func(l *listener.DoorLimits){
		"unauthenticated": func(l *listener.DoorLimits) { l.UnauthenticatedTotal = 4 },
		"connections":     func(l *listener.DoorLimits) { l.ConnectionsTotal = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(r *rig) {
				check := r.bystander()
				l := listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, ConnectDeadline: 10 * time.Second}
				limit(&l)
				r.limits(l)
				var silent []*client
				for i := range 12 {
					silent = append(silent, r.dial(mqtt.V5, fmt.Sprint("silent", i)))
					r.becomes("connections", int64(min(i+2, 5)), r.connections)
				}
				r.becomes("evicted", 8, r.counted(metrics.ConnectionsClosedEvicted))
				for i, c := range silent[:8] {
					if c.closed(noPacket); c.stands() {
						t.Errorf("the stranger %d is still there", i)
					}
				}
				r.connect(mqtt.V5, "alice/honest").subscribe("open/#", 0)
				check()
				r.becomes("refused", 0, func() int64 {
					return r.metrics.Value(metrics.ConnectionsRefusedTotalLimit) + r.metrics.Value(metrics.ConnectionsRefusedUnauthLimit)
				})
			})
		})
	}
}

// An eviction that comes when the verdict is out finds the client in, or the
// client finds its place taken: it is never both in and evicted, and the numbers
// stay right.
func TestAStormAtTheCap(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		r.limits(listener.DoorLimits{ConnectionsTotal: 1000, UnauthenticatedTotal: 5, HandshakesTotal: 5, ConnectDeadline: 10 * time.Second})
		var all []*client
		for i := range 100 {
			c := r.dial(mqtt.V5, fmt.Sprint("storm", i))
			all = append(all, c)
			connect := mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: fmt.Sprint("c", i), Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), ReceiveMaximum: 10, KeepAlive: 60}
			r.running(func() { _, _ = c.nc.Write(connect.Append(nil, mqtt.V5, 0)) })
		}
		r.settle()
		r.pass(11 * time.Second)
		in := int64(0)
		for _, c := range all {
			if p, ok := c.wanted(); ok && p.h.Type == mqtt.CONNACK {
				in++
			}
		}
		r.becomes("connections, with the bystander", in+1, r.connections)
		r.becomes("sessions", in+1, r.sessions)
		check()
	})
}

// What became of upgrades is counted by its kind, and the operator told.
func TestUpgradesAreCounted(t *testing.T) {
	playWeb(t, func(r *rig) {
		check := r.bystander()
		good := r.metrics.Value(metrics.UpgradesOK)
		if good != 1 {
			t.Errorf("%d upgrades, want the bystander's", good)
		}
		for id, text := range map[metrics.ID]string{
			metrics.UpgradesFailedMalformed:   "nonsense\r\n\r\n",
			metrics.UpgradesFailedTooLong:     "GET /mqtt HTTP/1.1\r\nX: " + strings.Repeat("x", listener.UpgradeBytesMax),
			metrics.UpgradesFailedPath:        strings.Replace(upgradeRequest, "/mqtt", "/", 1),
			metrics.UpgradesFailedMethod:      strings.Replace(upgradeRequest, "GET", "POST", 1),
			metrics.UpgradesFailedNoUpgrade:   strings.Replace(upgradeRequest, "Version: 13", "Version: 7", 1),
			metrics.UpgradesFailedOrigin:      strings.Replace(upgradeRequest, "Host", "Origin: https://evil.example\r\nHost", 1),
			metrics.UpgradesFailedSubprotocol: strings.Replace(upgradeRequest, "foo, mqtt", "foo", 1),
			metrics.UpgradesFailedGone:        upgradeRequest[:20],
		} {
			nc := r.transport()
			sent := make(chan struct{})
			r.running(func() { // to a pipe, which takes only what is read
				defer close(sent)
				_, _ = nc.Write([]byte(text))
			})
			if id == metrics.UpgradesFailedGone {
				<-sent
			} else {
				_, _ = nc.Read(make([]byte, 1))
			}
			_ = nc.Close()
			r.becomes(text[:9], 1, r.counted(id))
		}
		stalled := r.transport()
		if _, err := stalled.Write([]byte(upgradeRequest[:20])); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.pass(11 * time.Second)
		r.becomes("timeouts", 1, func() int64 {
			return r.metrics.Value(metrics.UpgradesFailedTimeout) + r.metrics.Value(metrics.HandshakesFailedTimeout)
		})
		_ = stalled.Close()
		r.becomes("upgrades that came about", good, r.counted(metrics.UpgradesOK))
		check()
	})
}
