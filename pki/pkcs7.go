package pki

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// Certificates in a PKCS #7 container that says nothing of them (RFC 5652 §5.1, "certs-only"),
// as enrolment over EST has them (RFC 7030 §4.1.3). No signature, no content.

var (
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
)

// containerBytesMax bounds what ParseContainer reads.
const containerBytesMax = 256 << 10

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version      int
	Digests      asn1.RawValue `asn1:"set"`
	Content      struct{ Type asn1.ObjectIdentifier }
	Certificates asn1.RawValue `asn1:"tag:0"`
	Signers      asn1.RawValue `asn1:"set"`
}

// emptySet is a SET OF nothing.
var emptySet = asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSet, IsCompound: true}

// Container is certificates in DER, in their order.
func Container(certs ...*x509.Certificate) ([]byte, error) {
	s := signedData{Version: 1, Digests: emptySet, Signers: emptySet}
	s.Content.Type = oidData
	s.Certificates = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true}
	for _, x := range certs {
		s.Certificates.Bytes = append(s.Certificates.Bytes, x.Raw...)
	}
	inner, err := asn1.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("pack certificates: %w", err)
	}
	out, err := asn1.Marshal(contentInfo{oidSignedData, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner}})
	if err != nil {
		return nil, fmt.Errorf("pack certificates: %w", err)
	}
	return out, nil
}

// ParseContainer reads what Container, or another EST server, has written in DER.
func ParseContainer(der []byte) ([]*x509.Certificate, error) {
	if len(der) > containerBytesMax {
		return nil, fmt.Errorf("a PKCS #7 container of %d bytes; the most is %d", len(der), containerBytesMax)
	}
	var c contentInfo
	var s struct {
		Version      int
		Digests      asn1.RawValue
		Content      asn1.RawValue
		Certificates asn1.RawValue `asn1:"optional,tag:0"`
		Lists        asn1.RawValue `asn1:"optional,tag:1"`
		Signers      asn1.RawValue
	}
	if rest, err := asn1.Unmarshal(der, &c); err != nil || len(rest) > 0 || !c.Type.Equal(oidSignedData) {
		return nil, errors.New("it is no PKCS #7 container of certificates")
	}
	if rest, err := asn1.Unmarshal(c.Content.Bytes, &s); err != nil || len(rest) > 0 {
		return nil, errors.New("the PKCS #7 container cannot be read")
	}
	certs, err := x509.ParseCertificates(s.Certificates.Bytes)
	if err != nil {
		return nil, fmt.Errorf("a certificate in the PKCS #7 container cannot be read: %w", err)
	}
	if len(certs) == 0 {
		return nil, errors.New("there is no certificate in the PKCS #7 container")
	}
	return certs, nil
}
