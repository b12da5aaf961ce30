package pki

import (
	"crypto/tls"
	"fmt"
)

// Profile is how strict the transport is.
type Profile string

// The profiles, after Mozilla's guideline 6.0. There is no older one.
const (
	Intermediate Profile = "intermediate" // TLS 1.2 and 1.3
	Modern       Profile = "modern"       // TLS 1.3
)

// suites12 are the TLS 1.2 suites with forward secrecy and authenticated
// encryption; those of TLS 1.3 are all good and cannot be chosen.
var suites12 = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// groups are the key exchanges, the one that survives a quantum computer first.
var groups = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}

// ALPN is the protocol name of MQTT in TLS (IANA registry, RFC 7301).
const ALPN = "mqtt"

// ServerTLS is the configuration of a listener. The caller owns it and may add
// client certificates to it before use; it stays valid over certificate swaps.
//
// A client may leave ALPN out. One that offers protocols must offer "mqtt", so
// that a connection meant for another service cannot be steered here (ALPACA).
// Session tickets are on with the key rotation of the standard library.
// Renegotiation does not exist on this side.
func ServerTLS(profile Profile, p *Provider) (*tls.Config, error) {
	c := &tls.Config{
		GetCertificate:   p.GetCertificate,
		CurvePreferences: append([]tls.CurveID(nil), groups...),
		NextProtos:       []string{ALPN},
		// One record per write from the first: small records at the start help web
		// pages appear sooner and cost a broker more system calls.
		DynamicRecordSizingDisabled: true,
	}
	switch profile {
	case Intermediate:
		c.MinVersion = tls.VersionTLS12
		c.CipherSuites = append([]uint16(nil), suites12...)
	case Modern:
		c.MinVersion = tls.VersionTLS13
	default:
		return nil, fmt.Errorf("tls.profile %q is not known; it is %s or %s", profile, Intermediate, Modern)
	}
	return c, nil
}
