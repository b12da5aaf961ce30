package harden

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"
)

// keyless is somebody who has seen a certificate and has not its key.
type keyless struct{ crypto.PublicKey }

func (k keyless) Public() crypto.PublicKey { return k.PublicKey }

func (keyless) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the key is elsewhere")
}

// Who shows a certificate without its key has not shown it, in both versions; who has it and then
// turns away clients without a certificate has.
func TestPresentWantsProof(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	e := newFake(t, flaws{}).env()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for signer, good := range map[crypto.Signer]bool{crypto.Signer(keyless{key.Public()}): false, key: true} {
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
				Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer}},
				MinVersion:   version, MaxVersion: version, ClientAuth: tls.RequireAnyClientCert,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Read(make([]byte, 1)) // which is the handshake
					_ = c.Close()
				}
			}()
			at := l.Addr().(*net.TCPAddr).AddrPort()
			got, err := e.present(t.Context(), spot{AddrPort: netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), network: "tcp"}, handshakeAs{name: "localhost"})
			if (err == nil) != good || good && got.version != version {
				t.Errorf("version %x, with its key: %v, answered %v, %v", version, good, got, err)
			}
		}
	}
}
