// Package pki makes and watches the broker's keys and certificates: the built-in
// server CA and its leaf, the loading of certificates an operator gives us, the
// choice of one for a handshake, the two TLS profiles, and who may read the
// files. It opens no port, verifies no client, and does not know who uses what
// it provides. It starts no goroutine either: Refresh is called by its owner.
//
// Rules: RFC 5280 profiles, Mozilla server side TLS 6.0, checklist rows P2.2
// (file modes) and P3.1 to P3.3 (versions, ciphers, certificates).
package pki

import (
	"path/filepath"
	"time"
)

// Files of the built-in CA, below the data directory.
const (
	certsDir      = "certs"
	caCertName    = "ca.pem"     // for clients: the one file to hand out
	caKeyName     = "ca.key"     // signs leaves; read only while one is issued
	leafCertName  = "server.pem" // what listeners show
	leafKeyName   = "server.key"
	keyMode       = 0o600
	certMode      = 0o600          // inside a 0700 directory; whoever hands out ca.pem copies it
	fileBytesMax  = 1 << 20        // of a certificate or key file; a long chain takes 20 KiB
	newDirPattern = ".certs.new-*" // while Init fills it; mode 0700
)

// ListsFolder is where a listener keeps revocation lists that it has fetched.
func ListsFolder(dataDir, listener string) string {
	return filepath.Join(dataDir, certsDir, "fetched", listener)
}

const (
	// caLife is how long devices can keep the CA they were given. Replacing it
	// means touching every device.
	caLife = 10 * 365 * 24 * time.Hour
	// leafLife is what Mozilla's guideline recommends; nobody touches anything
	// when a leaf is renewed, so short costs nothing.
	leafLife = 90 * 24 * time.Hour
	// backdate lets a device whose clock is slow connect at once.
	backdate = time.Hour
)

// renewAt is when a leaf is replaced: two thirds into its life, which leaves a
// month for somebody to notice that it does not work.
func renewAt(notBefore, notAfter time.Time) time.Time {
	return notBefore.Add(notAfter.Sub(notBefore) / 3 * 2)
}
