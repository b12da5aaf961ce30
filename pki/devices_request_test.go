package pki

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
)

func request(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "admin", Organization: []string{"everything"}}, DNSNames: []string{"broker.example"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemRequest(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// TestASigningRequestGivesItsKeyAndNothingElse: a device does not say what it is called.
func TestASigningRequestGivesItsKeyAndNothingElse(t *testing.T) {
	d, dir := newDevices(t)
	key := p256(t)
	public, err := LoadRequest(put2(t, pemRequest(request(t, key))))
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Issue(t0, Order{Name: "dev", Life: dayLong, Public: public})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := parseChain(out.Certificate, "issued")
	if err != nil {
		t.Fatal(err)
	}
	x := chain[0]
	if x.Subject.String() != "CN=dev" || len(x.DNSNames) != 1 || x.DNSNames[0] != "dev" || belongs(key, x, "key", "certificate") != nil {
		t.Errorf("%s %v", x.Subject, x.DNSNames)
	}
	if len(out.Key.Reveal()) > 0 {
		t.Error("a key was made, too")
	}
	if err := judge(t, dir, x, t0); err != nil {
		t.Error(err)
	}
	if _, err := ParseRequest(request(t, key), "der"); err != nil {
		t.Errorf("DER: %v", err)
	}
}

// hugeRequest has a public key that takes long to look at; nobody has the other half.
func hugeRequest(t *testing.T) []byte {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8999, 1), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	type info struct {
		Version    int
		Subject    pkix.RDNSequence
		Public     asn1.RawValue
		Attributes []int `asn1:"tag:0"`
	}
	der, err := asn1.Marshal(struct {
		Info      info
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{info{Public: asn1.RawValue{FullBytes: public}}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}}, asn1.BitString{Bytes: make([]byte, 1125), BitLength: 9000}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSigningRequestsThatAreRefused(t *testing.T) {
	good := request(t, p256(t))
	stolen := append([]byte(nil), good...)
	stolen[len(stolen)-1] ^= 1
	for what, row := range map[string]struct {
		text  []byte
		words string
	}{
		"somebody else's key": {pemRequest(stolen), "nobody has proved"},
		"a small key":         {pemRequest(request(t, rsaKey(t, rsa1024))), "1024 bits"},
		"a huge key (A135)":   {pemRequest(hugeRequest(t)), "9000 bits"},
		"P-224":               {pemRequest(request(t, newECDSA(t, elliptic.P224()))), "P-224"},
		"a key":               {keyPEM(t, p256(t)), "PRIVATE KEY"},
		"nothing":             {nil, "openssl req"},
		"much":                {make([]byte, RequestBytesMax+1), "larger than 64 KiB"},
	} {
		_, err := ParseRequest(row.text, "the file")
		saying(t, what, err, row.words, "the file")
	}
	file := put2(t, pemRequest(good))
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := LoadRequest(file)
	saying(t, "one that others can replace", err, "chmod go-w")
}
