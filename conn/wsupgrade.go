package conn

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// upgradeError is why a WebSocket did not come about: a *listener.RefusedUpgrade,
// or what the connection said while the request was read.
type upgradeError struct{ err error }

func (e *upgradeError) Error() string { return "WebSocket upgrade: " + e.err.Error() }
func (e *upgradeError) Unwrap() error { return e.err }

// upgrade reads the HTTP request that opens a WebSocket and answers it. rw ends
// at the connection's absolute deadline. What came behind the request belongs to
// the frames (A145: nothing is read as one before the answer is out).
func upgrade(rw io.ReadWriter, w *listener.WebSocket) (*frames, error) {
	b := make([]byte, 0, listener.UpgradeBytesMax)
	for listener.UpgradeSize(b) == 0 {
		if len(b) == cap(b) {
			return nil, turnAway(rw, w.TooLong)
		}
		n, err := rw.Read(b[len(b):cap(b)])
		if b = b[:len(b)+n]; err != nil && n == 0 {
			return nil, &upgradeError{err}
		}
	}
	size := listener.UpgradeSize(b)
	answer, err := w.Answer(b[:size])
	if err != nil {
		return nil, turnAway(rw, func() ([]byte, error) { return answer, err })
	}
	if _, err := rw.Write(answer); err != nil {
		return nil, &upgradeError{err}
	}
	return &frames{first: append([]byte(nil), b[size:]...)}, nil
}

// turnAway says why not.
func turnAway(rw io.ReadWriter, say func() ([]byte, error)) error {
	answer, err := say()
	_, _ = rw.Write(answer) // whether the client learns of it changes nothing
	if t, ok := rw.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	return &upgradeError{err}
}

// upgradeFailed counts it and explains it to the operator.
func (s *Server) upgradeFailed(now time.Time, from netip.AddrPort, l *listener.Listener, e *upgradeError) {
	id, level, kind, why := metrics.UpgradesFailedGone, slog.LevelDebug, "ended", e.err.Error() // port scans and health probes
	var refused *listener.RefusedUpgrade
	var netErr net.Error
	switch {
	case errors.As(e.err, &refused):
		id, level, kind, why = refused.Count, slog.LevelWarn, http.StatusText(refused.Status), refused.Error()
	case errors.As(e.err, &netErr) && netErr.Timeout():
		id = metrics.UpgradesFailedTimeout
	}
	s.count.Inc(id)
	s.broker.Log().Stranger(now, level, "WebSocket upgrade failed", from.Addr(), kind, func() []slog.Attr {
		return []slog.Attr{slog.String("address", whence(from)), slog.String("listener", l.Name), slog.String("why", why)}
	})
}
