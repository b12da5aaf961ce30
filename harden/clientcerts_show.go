package harden

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/redoubtmq/redoubt/pki"
)

// What a server makes of a certificate is not known when the handshake returns: in
// TLS 1.3 the client has finished before the server has looked. It is known from
// the first read of what the application says.

// verdict is how a server dealt with a certificate.
type verdict struct {
	answered bool // there was an answer of the application
	refused  bool // there was an alert, or the connection ended
	resumed  bool // an earlier session went on, if there was an answer
	words    string
}

// shows a certificate in one version of TLS, and says CONNECT behind it.
func (j *asking) shows(cert *tls.Certificate, version uint16) verdict {
	return j.tries(showing(cert, version))
}

// tries is shows for any client of TLS.
func (j *asking) tries(as *tls.Config) verdict {
	t, err := j.e.secure(j.ctx, j.p.addr, as)
	var handshake *handshakeError
	switch {
	case errors.As(err, &handshake):
		return refusal(handshake.error, "in the handshake")
	case err != nil:
		return verdict{words: "no connection: " + shortened(err.Error())}
	}
	defer t.Close()
	nobody := connectPacket{level: level4, clientID: j.e.clientID()}
	words := nobody.encode()
	if j.p.ws {
		words = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", j.p.path, j.p.addr)
	}
	_, writeErr := t.Write(words)
	first := make([]byte, 1)
	if _, err := io.ReadFull(t, first); err != nil {
		if writeErr != nil && errors.Is(err, net.ErrClosed) {
			err = writeErr
		}
		return refusal(err, "at the first read")
	}
	return verdict{answered: true, resumed: t.ConnectionState().DidResume, words: "answered by the application"}
}

// showing is a client that shows cert, or none, whatever CAs the server names.
func showing(cert *tls.Certificate, version uint16) *tls.Config {
	if cert == nil {
		cert = &tls.Certificate{}
	}
	return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, ServerName: "localhost",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }}
}

// refusal reads how a server said no.
func refusal(err error, where string) verdict {
	var theirs *net.OpError
	switch {
	case errors.As(err, &theirs) && theirs.Op == "remote error":
		return verdict{refused: true, words: shortened(theirs.Err.Error()) + " " + where}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return verdict{refused: true, words: "closed " + where}
	}
	return verdict{words: shortened(err.Error()) + " " + where}
}

// versions are those of TLS that the listener offers.
func (j *asking) versions() []uint16 {
	if j.tls.Profile == "modern" || j.p.addr.network == networkUDP {
		return []uint16{tls13}
	}
	return []uint16{tls13, tls12}
}

// goodPasses is the positive control: any answer of the application, whoever it
// then lets in.
func (j *asking) goodPasses() bool {
	const what = "a good certificate (positive control)"
	if j.good == nil {
		j.see(Probe, what, "answered", "not tried: "+j.noKey, Unknown)
		return false
	}
	all := true
	for _, v := range j.versions() {
		g := j.shows(j.good, v)
		j.see(Probe, versionName(v)+": "+what, "answered", g.words, passIf(g.answered, Unknown))
		all = all && g.answered
	}
	return all
}

// refused shows what must not be accepted.
func (j *asking) refused(c credential) {
	for _, v := range j.versions() {
		g := j.shows(c.cert, v)
		s := Unknown
		switch {
		case g.answered:
			s = Fail
		case g.refused:
			s = Pass
		}
		j.see(Probe, versionName(v)+": "+c.what, "an alert before any answer", g.words, s)
	}
}

// identity sends another user name beside a good certificate: who the client is,
// is for the certificate to say.
func (j *asking) identity() {
	what, want := "another user name beside a good certificate", "the client is who the certificate says"
	if !slices.Contains(j.chain, "x509") {
		j.see(ReadConfig, what, "", "the chain of the listener knows nobody by a certificate: "+chainWords(j.chain), NotApplicable)
		return
	}
	want += ": " + j.expected()
	other := "probe-" + randomText()
	c := connectPacket{level: j.level(), clientID: j.e.clientID(), user: &other}
	with := *j.p
	with.cert = j.good
	m, answer := j.e.connect(j.ctx, &with, c)
	if m == nil {
		s := Unknown
		if answer.is(typeConnack, 4, 5, 0x86, 0x87) {
			s = Warn // nobody else either, and the chain should have known the client
		}
		j.see(Probe, what, want, answer.String(), s)
		return
	}
	defer m.leave()
	user, err := j.e.Broker.ClientUser(j.ctx, c.clientID)
	switch {
	case err != nil:
		j.see(API, what, want, "the broker does not say who the client is: "+shortened(err.Error()), Unknown)
	case user == other:
		j.see(API, what, want, "it is the user of the CONNECT", Fail)
	default:
		j.see(API, what, want, user, passIf(user == j.expected(), Fail))
	}
}

// expected is the user that the good certificate is for.
func (j *asking) expected() string {
	if j.good.Leaf == nil {
		return "unknown"
	}
	c := pki.Clients{Identity: pki.Identity(j.tls.Identity)}
	name, err := c.Name(j.good.Leaf)
	if err != nil {
		return "unknown: " + shortened(err.Error())
	}
	return name
}
