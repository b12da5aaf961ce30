package harden

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/pki"
)

// presented is what a server showed in one handshake.
type presented struct {
	name    string // of the server, as the probe asked for it
	version uint16
	chain   []*x509.Certificate // its own first
	staple  []byte              // OCSP response; nil: none
}

// leaf is the server's own certificate.
func (p *presented) leaf() *x509.Certificate { return p.chain[0] }

// handshakeAs says how a server is asked to show its certificate.
type handshakeAs struct {
	name    string
	version uint16   // the only one that is offered; 0: 1.2 and 1.3
	suites  []uint16 // of TLS 1.2; nil: all
}

// present has a server show its certificate, and prove that it has the key. Whether the server then wants one of
// the client does not matter: it comes first. Nothing of it is judged here.
func (e *Env) present(ctx context.Context, a spot, as handshakeAs) (*presented, error) {
	out, proved := &presented{name: as.name}, false
	conf := &tls.Config{
		InsecureSkipVerify: true, // the caller judges
		// Asked for behind the server's signature, whatever the version; VerifyConnection comes before it.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			proved = true
			return &tls.Certificate{}, nil
		},
		ServerName: as.name, MinVersion: tls.VersionTLS12, CipherSuites: as.suites,
		VerifyConnection: func(s tls.ConnectionState) error {
			out.version, out.chain, out.staple = s.Version, s.PeerCertificates, s.OCSPResponse
			return nil
		},
	}
	if as.version != 0 {
		conf.MinVersion, conf.MaxVersion = as.version, as.version
	}
	conn, err := e.secure(ctx, a, conf)
	if err == nil {
		_ = conn.Close()
	}
	// What the server then has against us counts for nothing where it comes in place of its proof: whoever
	// has seen a certificate can show it and go away.
	var theirs *net.OpError
	if err != nil && !(proved && errors.As(err, &theirs) && theirs.Op == "remote error") {
		return nil, err
	}
	if len(out.chain) == 0 {
		return nil, errors.Join(errors.New("the server showed no certificate"), err)
	}
	return out, nil
}

// shown is what one address showed for each name of its certificates.
type shown struct {
	names    []string // that it was asked for: none, and all of its certificates
	untried  int      // names beyond namesMax
	all      []*presented
	troubles []string // handshakes that failed
}

// namesMax bounds the names of one address that are tried, so that a run has an
// end; more are said to be untried.
const namesMax = 24

// servedKey is who was asked what it shows.
type servedKey struct {
	addr spot
	host string // of a socket
}

// shownAt asks an address for no name, for those of its listener's files, and for
// all that are in the certificates it shows. Asked for once a run.
func (e *Env) shownAt(ctx context.Context, s *socket, a spot) *shown {
	key := servedKey{a, s.host}
	if known := e.seen.served[key]; known != nil {
		return known
	}
	out := &shown{names: []string{""}}
	wanted := append([]string{s.serverName()}, e.fileNames(s)...)
	for i := 0; i < len(out.names); i++ {
		p, err := e.present(ctx, a, handshakeAs{name: out.names[i]})
		if err != nil {
			out.troubles = append(out.troubles, fmt.Sprintf("%s: %s", asked(out.names[i]), shortened(err.Error())))
		} else {
			out.all = append(out.all, p)
			wanted = append(wanted, hostNames(p.leaf())...)
		}
		for _, n := range wanted {
			switch {
			case slices.Contains(out.names, n):
			case len(out.names) < namesMax:
				out.names = append(out.names, n)
			default:
				out.untried++
			}
		}
		wanted = nil
	}
	if e.seen.served == nil {
		e.seen.served = map[servedKey]*shown{}
	}
	e.seen.served[key] = out
	return out
}

// asked is a server name in words.
func asked(name string) string {
	if name == "" {
		return "without a server name"
	}
	return "for " + shortened(name)
}

// hostNames are the names of a certificate that a client could ask for. What
// stands for many is asked for by one of them.
func hostNames(c *x509.Certificate) (names []string) {
	for _, n := range c.DNSNames {
		if rest, ok := strings.CutPrefix(n, "*."); ok {
			n = "probe." + rest
		}
		if n != "" && len(n) < 254 {
			names = append(names, strings.ToLower(n))
		}
	}
	return names
}

// certFiles are the files with the certificates of a listener: of its own
// configuration, or of the built-in CA. For what is no listener there are none.
func (e *Env) certFiles(s *socket) []string {
	l, known := e.Config.Listeners[s.name]
	if s.protocol == "" || s.host != "" || !known {
		return nil
	}
	var files []string
	for _, pair := range l.TLS.Certificates {
		files = append(files, pair.Cert)
	}
	if len(files) == 0 {
		files = []string{filepath.Join(filepath.Dir(pki.CAFile(e.Config.Node.DataDir)), "server.pem")}
	}
	return files
}

// fileNames are the names in those files, as far as they can be read: who must not
// read them is told by row P3.3.
func (e *Env) fileNames(s *socket) (names []string) {
	for _, file := range e.certFiles(s) {
		if chain, err := readChain(file); err == nil {
			names = append(names, hostNames(chain[0])...)
		}
	}
	return names
}

// speaksTLS are the addresses of a socket that was meant for TLS.
func (s *socket) speaksTLS() bool {
	return s.protocol == config.ProtocolMQTTS || s.protocol == config.ProtocolWSS || s.protocol == config.ProtocolQUIC
}

// certBytesMax bounds a certificate file.
const certBytesMax = 1 << 20

// readChain reads the certificates of a PEM file.
func readChain(file string) ([]*x509.Certificate, error) {
	b, err := safefile.Read(file, certBytesMax)
	if errors.Is(err, safefile.ErrNotRegular) || errors.Is(err, safefile.ErrTooLarge) {
		err = fmt.Errorf("%s is no file of certificates", file)
	}
	if err != nil {
		return nil, err
	}
	return parsePEM(b, file)
}

// parsePEM reads the certificates of a PEM text; anything else in it is passed over.
func parsePEM(b []byte, file string) (chain []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return chain, nil
}
