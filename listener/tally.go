package listener

import (
	"slices"
	"sync/atomic"
)

// RefusalReasons are the reasons in Tally, and in metrics, in order. Those of the door have
// the names that redoubt_connections_refused_total gives them.
var RefusalReasons = []string{
	"connect_rate", "prefix_limit", "listener_rate", "listener_limit", "total_limit", "unauthenticated_limit", "handshakes_limit",
	"memory", "banned", "access_list", "proxy_source", "proxy_header_missing", "proxy_header_bad", "handshake_rate",
}

// refusals are the same, as the door has them.
var refusals = [...]Refusal{
	OverConnectRate, OverPrefix, OverListenerRate, OverListener, OverTotal, OverUnauthenticated, OverHandshakes,
	OverMemory, Banned, Denied, NoProxy, NoHeader, BadHeader, OverHandshakeRate,
}

// Tally is what came of connections at one listener since it was made. It is written once
// or twice for each connection and never for a packet.
type Tally struct {
	accepted, failed atomic.Int64
	refused          [len(refusals)]atomic.Int64
}

// Accepted is how many the door has let in.
func (t *Tally) Accepted() int64 { return t.accepted.Load() }

// HandshakesFailed is how many were let in and did not finish what comes before the first
// packet.
func (t *Tally) HandshakesFailed() int64 { return t.failed.Load() }

// Refused is how many were refused for each of RefusalReasons.
func (t *Tally) Refused() []int64 {
	out := make([]int64, len(t.refused))
	for i := range t.refused {
		out[i] = t.refused[i].Load()
	}
	return out
}

// OverRate is how many were refused because they came too fast.
func (t *Tally) OverRate() (n int64) {
	for i, r := range refusals {
		if r == OverConnectRate || r == OverListenerRate || r == OverHandshakeRate {
			n += t.refused[i].Load()
		}
	}
	return n
}

// Failed counts a handshake, of TLS or a WebSocket, that came to nothing.
func (t *Tally) Failed() { t.failed.Add(1) }

// Refuse counts a refusal; none is an admission.
func (t *Tally) Refuse(r Refusal) {
	if r == "" {
		t.accepted.Add(1)
	} else if i := slices.Index(refusals[:], r); i >= 0 {
		t.refused[i].Add(1)
	}
}
