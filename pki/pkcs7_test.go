package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"os/exec"
	"testing"
)

// TestCertificatesInAContainer: openssl reads ours, and we read openssl's.
func TestCertificatesInAContainer(t *testing.T) {
	d, _ := newDevices(t)
	_, a := issue(t, d, t0, "a", dayLong)
	_, b := issue(t, d, t0, "b", dayLong)
	der, err := Container(a, b)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseContainer(der)
	if err != nil || len(back) != 2 || !back[0].Equal(a) || !back[1].Equal(b) {
		t.Fatalf("%v: %d certificates", err, len(back))
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is not installed: make deps")
	}
	run := func(in []byte, words ...string) []byte {
		t.Helper()
		cmd := exec.Command("openssl", words...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %v: %v", words, err)
		}
		return out
	}
	if out := run(der, "pkcs7", "-inform", "DER", "-print_certs", "-noout"); !bytes.Contains(out, []byte("a\n")) || !bytes.Contains(out, []byte("b\n")) {
		t.Errorf("openssl: %s", out)
	}
	pems := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Raw})...)
	theirs := run(pems, "crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", "-outform", "DER")
	if back, err := ParseContainer(theirs); err != nil || len(back) != 2 || !back[0].Equal(a) {
		t.Errorf("of openssl: %v", err)
	}
}

// FuzzParseContainer: what is no container is an error.
func FuzzParseContainer(f *testing.F) {
	der, err := Container(&x509.Certificate{Raw: []byte{0x30, 0}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add([]byte{})
	long, _ := hex.DecodeString("30840fffffff06092a864886f70d010702")
	f.Add(long)
	other, _ := asn1.Marshal(contentInfo{Type: oidData, Content: asn1.RawValue{Class: 2, Tag: 0, IsCompound: true}})
	f.Add(other)
	f.Fuzz(func(t *testing.T, der []byte) {
		if certs, err := ParseContainer(der); err == nil && len(certs) == 0 {
			t.Error("nothing, and no error")
		}
	})
}
