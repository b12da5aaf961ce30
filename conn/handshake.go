package conn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/limit/top"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

// notTLS is the alert unexpected_message in a record of TLS 1.0, which every
// version reads: a client that spoke plaintext to a TLS port learns from it what
// it has met.
var notTLS = []byte{0x15, 3, 1, 0, 2, 2, 10}

// handshakeFailed counts and explains a TLS handshake that came to nothing: the
// client sees an alert or a closed connection, so the words are for the
// operator.
func (s *Server) handshakeFailed(now time.Time, from netip.AddrPort, l *listener.Listener, err error) {
	l.Tally.Failed()
	s.stranger(now, from, l, top.Refused)
	var failed *upgradeError
	if errors.As(err, &failed) {
		s.upgradeFailed(now, from, l, failed)
		return
	}
	id, why, inner := explainQUIC(err)
	if inner != nil {
		id, why = explainHandshake(inner)
	}
	s.count.Inc(id)
	if id == metrics.HandshakesFailedRate {
		l.Tally.Refuse(listener.OverHandshakeRate)
	}
	level := slog.LevelWarn
	if id == metrics.HandshakesFailedGone {
		level = slog.LevelDebug // port scans and health probes
	}
	s.broker.Log().Refused(now, level, "TLS handshake failed", from.Addr(), l.Name, why, func() []slog.Attr {
		return []slog.Attr{slog.String("address", whence(from)), slog.String("listener", l.Name), slog.String("why", why), slog.String("error", err.Error())}
	})
}

func explainHandshake(err error) (metrics.ID, string) {
	var header tls.RecordHeaderError
	var netErr net.Error
	var alert tls.AlertError
	var refused *pki.Refused
	text := err.Error()
	switch {
	case errors.Is(err, errHandshakeRate):
		return metrics.HandshakesFailedRate, err.Error()
	case errors.As(err, &refused):
		return metrics.HandshakesFailedClientCert, refused.Why
	case errors.As(err, &header):
		if header.RecordHeader[0] == 0x10 { // a CONNECT
			return metrics.HandshakesFailedNotTLS, "the client speaks MQTT without TLS to the TLS port; let it use TLS (mqtts)"
		}
		if bytes.HasPrefix(header.RecordHeader[:], []byte("GET ")) {
			return metrics.HandshakesFailedNotTLS, "the client speaks HTTP without TLS to a TLS port"
		}
		return metrics.HandshakesFailedNotTLS, "the first bytes are not TLS"
	case errors.As(err, &netErr) && netErr.Timeout():
		return metrics.HandshakesFailedTimeout, "the handshake did not finish within limits.connect_deadline"
	case errors.As(err, &alert) || strings.Contains(text, "remote error: tls:"):
		return explainAlert(text)
	case strings.Contains(text, "bad record MAC"):
		return metrics.HandshakesFailedRefused, "the client refused our certificate: unknown CA, most likely (it broke off before the keys were agreed, as OpenSSL clients do); give it the CA certificate (certs/ca.pem in the data directory) as --cafile"
	case errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || strings.Contains(text, "connection reset"):
		return metrics.HandshakesFailedGone, "the client closed the connection during the handshake; clients that do not trust the certificate often do so without a word"
	case strings.Contains(text, "client didn't provide a certificate"):
		return metrics.HandshakesFailedClientCert, "the client has shown no certificate, and the listener requires one (tls.client_cert); give it one that was issued by a CA of client_ca"
	case strings.Contains(text, "failed to parse client certificate") || strings.Contains(text, "certificate containing RSA key larger") || strings.Contains(text, "certificate contains an unsupported public key"):
		return metrics.HandshakesFailedClientCert, "the client has shown a certificate that TLS cannot use here: its key, or that of a CA it sent, is of a kind or size that is not accepted, or it cannot be read; issue it with an ECDSA P-256 key"
	case strings.Contains(text, "unsupported application protocols"), strings.Contains(text, "did not request an application protocol"):
		return metrics.HandshakesFailedOther, "the client asks for other protocols than this listener's (ALPN): mqtt, or http/1.1 where it is a WebSocket; it may be meant for another service"
	case strings.Contains(text, "unsupported versions") || strings.Contains(text, "no cipher suite") || strings.Contains(text, "protocol version"):
		return metrics.HandshakesFailedVersion, "client and server share no TLS version or cipher suite; see listeners.<name>.tls.profile"
	}
	return metrics.HandshakesFailedOther, "the handshake failed"
}

// explainAlert says what the client's alert means. The client judged us.
func explainAlert(text string) (metrics.ID, string) {
	switch {
	case strings.Contains(text, "unknown certificate authority"):
		return metrics.HandshakesFailedRefused, "the client does not trust our certificate; give it the CA certificate (certs/ca.pem in the data directory) as --cafile"
	case strings.Contains(text, "expired certificate"):
		return metrics.HandshakesFailedRefused, "the client says our certificate has expired; compare both clocks"
	case strings.Contains(text, "bad certificate"), strings.Contains(text, "unknown certificate"), strings.Contains(text, "certificate"):
		return metrics.HandshakesFailedRefused, "the client refused our certificate: unknown CA, or the host name it used is not among the certificate's names"
	case strings.Contains(text, "protocol version"), strings.Contains(text, "handshake failure"), strings.Contains(text, "insufficient security"):
		return metrics.HandshakesFailedVersion, "the client found no TLS version or cipher suite in common"
	}
	return metrics.HandshakesFailedRefused, "the client ended the handshake with an alert"
}
