package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/pki/revoke"
)

// rewritten is a certificate with other bytes in the place of its signature and behind it.
func rewritten(t *testing.T, x *x509.Certificate, change func(signature asn1.BitString) asn1.BitString, behind ...byte) *x509.Certificate {
	t.Helper()
	var parts struct {
		Signed, Algorithm asn1.RawValue
		Signature         asn1.BitString
	}
	if _, err := asn1.Unmarshal(x.Raw, &parts); err != nil {
		t.Fatal(err)
	}
	signature, err := asn1.Marshal(change(parts.Signature))
	if err != nil {
		t.Fatal(err)
	}
	inside := append(append(append(append([]byte(nil), parts.Signed.FullBytes...), parts.Algorithm.FullBytes...), signature...), behind...)
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: inside})
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func asIs(s asn1.BitString) asn1.BitString { return s }

// shifted writes the signature two bits further to the left: what it is begins with a byte
// whose two first bits are zero.
func shifted(s asn1.BitString) asn1.BitString {
	n := new(big.Int).Lsh(new(big.Int).SetBytes(s.Bytes), 2)
	return asn1.BitString{Bytes: n.FillBytes(make([]byte, len(s.Bytes))), BitLength: s.BitLength - 2}
}

// TestCertificatesWrittenInAnotherWay: nobody gets another fingerprint for a certificate, and
// with it past who has denied it (P3.5).
func TestCertificatesWrittenInAnotherWay(t *testing.T) {
	tr := newTrust(t)
	device := makeCert(t, p256(t), tr.between, asDevice("dev", 10))
	c := tr.clients(t, ClientCertRequired)
	judge := func(shown ...*x509.Certificate) string {
		t.Helper()
		if _, err := c.Verify(shown, t0); err != nil {
			return err.Error()
		}
		return ""
	}
	if why := judge(device.x, tr.between.x); why != "" {
		t.Fatalf("the device: %s", why)
	}
	for what, change := range map[string]func(*x509.Certificate) *x509.Certificate{
		"bytes behind":     func(x *x509.Certificate) *x509.Certificate { return rewritten(t, x, asIs, 5, 0) },
		"more behind":      func(x *x509.Certificate) *x509.Certificate { return rewritten(t, x, asIs, 4, 3, 'a', 'b', 'c') },
		"a shifted number": func(x *x509.Certificate) *x509.Certificate { return rewritten(t, x, shifted) },
	} {
		if x := change(device.x); x.CheckSignatureFrom(tr.between.x) != nil || x.Equal(device.x) {
			t.Fatalf("%s: package x509 does not take it", what)
		}
		if why := judge(change(device.x), tr.between.x); !strings.Contains(why, "nobody has signed") {
			t.Errorf("%s: %q", what, why)
		}
		if why := judge(device.x, change(tr.between.x)); !strings.Contains(why, "nobody has signed") {
			t.Errorf("%s in a CA: %q", what, why)
		}
	}

	// The other signature of ECDSA is one that the issuer could have made, so that it is let in,
	// but not past who has denied the certificate, in whichever of the two ways.
	twin := rewritten(t, device.x, func(s asn1.BitString) asn1.BitString {
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(s.Bytes, &rs); err != nil {
			t.Fatal(err)
		}
		rs.S.Sub(tr.between.x.PublicKey.(*ecdsa.PublicKey).Params().N, rs.S)
		b, err := asn1.Marshal(rs)
		if err != nil {
			t.Fatal(err)
		}
		return asn1.BitString{Bytes: b, BitLength: 8 * len(b)}
	})
	if why := judge(twin, tr.between.x); why != "" || twin.Equal(device.x) {
		t.Errorf("its twin: %q", why)
	}
	before := c
	for _, denied := range []*x509.Certificate{device.x, twin} {
		d, err := revoke.ParseDenied([]string{revoke.FingerprintID(denied)})
		if err != nil {
			t.Fatal(err)
		}
		c = c.Deny(d)
		for _, x := range []*x509.Certificate{device.x, twin} {
			if why := judge(x, tr.between.x); !strings.Contains(why, "denied here by its fingerprint") {
				t.Errorf("%q", why)
			}
			if c.WithdrawnSince(before, []*x509.Certificate{x, tr.between.x}, t0) == nil {
				t.Error("a connection with it stays")
			}
		}
	}
}
