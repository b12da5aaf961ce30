package pki

import (
	"crypto/x509"
	"testing"
	"time"
)

// BenchmarkWithdrawn is what judging one live connection again costs, in passes of different causes.
func BenchmarkWithdrawn(b *testing.B) {
	dir, now := b.TempDir(), time.Now()
	if _, err := Init(dir, now, Names{Hosts: []string{"localhost"}}); err != nil {
		b.Fatal(err)
	}
	if _, err := InitDevices(dir, "", now); err != nil {
		b.Fatal(err)
	}
	p, err := DevicesProber(dir)
	if err != nil {
		b.Fatal(err)
	}
	pair, err := p.Issue(now, ProbeCert{Name: "dev-1", NotBefore: now.Add(-time.Second), NotAfter: now.Add(ProbeLifeMax - time.Second), Usage: x509.ExtKeyUsageClientAuth})
	if err != nil {
		b.Fatal(err)
	}
	c := &Clients{Ask: ClientCertRequired, Depth: 5, Identity: IdentityCN}
	if err := c.LoadClientCAs([]string{DevicesCA(dir)}, now); err != nil {
		b.Fatal(err)
	}
	if err := c.LoadRevoked([]string{DevicesList(dir)}, 0); err != nil {
		b.Fatal(err)
	}
	shown := []*x509.Certificate{pair.Leaf}
	for name, by := range map[string]*Clients{"same CAs": c.Again(), "other CAs": nil} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.WithdrawnSince(by, shown, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
