package conn

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// deny has the listener refuse this network from now on.
func (r *rig) deny(network string) {
	r.server.listeners[0].Access.Store(listener.NewAccess([]listener.AccessRule{{Network: netip.MustParsePrefix(network), Text: "deny " + network}}))
}

// Who is refused by the rules of his listener costs nothing: no place, no handshake.
func TestAccessIsJudgedBeforeAnything(t *testing.T) {
	playTCP(t, func(r *rig) { // QUIC knocks with several packets
		check := r.bystander()
		r.deny("127.0.0.64/26")
		for range 3 {
			r.ends(r.from("127.0.0.70"))
		}
		r.becomes("refused", 3, r.counted(metrics.ConnectionsRefusedAccess))
		r.becomes("accepted", 1, r.counted(metrics.ConnectionsAccepted))
		if n := strings.Count(r.log.String(), "refused by an access rule"); n != 1 {
			t.Errorf("%d lines for three attempts, want one\n%s", n, r.log)
		}
		check()
	})
}

// New rules are for who is there, too, in whatever state he is; others stay.
func TestNewRulesCloseWhomTheyRefuse(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		v5 := r.connectFrom("127.0.0.70", mqtt.V5, "alice/five")
		v3 := r.connectFrom("127.0.0.71", mqtt.V311, "alice/three")
		half := r.from("127.0.0.72")
		r.becomes("connections", 4, r.connections)
		r.deny("127.0.0.70/31")
		r.server.Enforce()
		v5.closed(mqtt.NotAuthorized)
		v3.closed(noPacket)
		r.becomes("connections", 2, r.connections)
		r.deny("127.0.0.72/32")
		r.server.Enforce()
		if r.real == nil && r.web != nil { // its goroutine has it, and no loop; it never gets a session
			_ = half.Close()
		} else {
			r.ends(half)
			r.becomes("closed", 3, r.counted(metrics.ConnectionsClosedNotAuthorized))
		}
		r.becomes("connections", 1, r.connections)
		check()
	})
}

// connectFrom is connect from this address.
func (r *rig) connectFrom(address string, v mqtt.Version, who string) *client {
	r.t.Helper()
	r.proxy = func() net.Conn { return r.from(address) }
	defer func() { r.proxy = nil }()
	return r.connect(v, who)
}
