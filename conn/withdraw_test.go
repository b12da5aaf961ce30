package conn

import (
	"crypto/x509"
	"testing"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/pki"
)

// shownSocket counts how often somebody looks at what its client has shown.
type shownSocket struct {
	socket
	looks *int
}

func (s shownSocket) Shown() []*x509.Certificate { *s.looks++; return nil }

// TestPassesOverCertificatesDoNotOverlap: whatever is asked for while one is under way is one
// more, from the beginning, and everybody is judged in each.
func TestPassesOverCertificatesDoNotOverlap(t *testing.T) {
	const clients = 10*recheckSome + 7
	lst, looks := &listener.Listener{}, 0
	lst.Clients.Store(&pki.Clients{Ask: pki.ClientCertRequired})
	s := &Server{}
	l := &Loop{server: s}
	l.inbox.wake = func() {}
	s.loops = []*Loop{l}
	for range clients {
		l.conns = append(l.conns, &Conn{stage: open, listener: lst, sock: shownSocket{looks: &looks}})
	}
	turn := func() (more bool) {
		events, _ := l.inbox.drain(nil, nil, true)
		for _, e := range events {
			e.fn(l)
		}
		return len(events) > 0
	}
	s.Recheck()
	for range 5 {
		turn()
	}
	if looks >= clients {
		t.Fatalf("%d of %d were judged in five turns: a turn does too much", looks, clients)
	}
	for range 20 {
		s.Recheck()
	}
	for turn() {
	}
	if looks != 2*clients {
		t.Errorf("%d were judged, want all %d twice", looks, clients)
	}
	looks = 0
	s.Recheck()
	for turn() {
	}
	if looks != clients {
		t.Errorf("later: %d were judged, want all %d", looks, clients)
	}
}
