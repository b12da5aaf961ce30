package pki

import "crypto/x509"

// shownBytesMax is how many bytes of certificates a client may show. They are kept, parsed,
// as long as the connection; three certificates with post-quantum signatures take 20 KiB.
const shownBytesMax = 32 << 10

// crowded judges how many certificates a client has shown, how large they are and how they are written,
// before any signature is verified. Package x509 tries every issuer that has the right name, and stops after a
// hundred signatures: thirty times what an honest client costs, for whoever asks.
// So at most what chain_depth allows is looked at, and no two that say they are of one CA.
func (c *Clients) crowded(shown []*x509.Certificate) *Refused {
	leaf := shown[0]
	if most := c.Depth + 2; len(shown) > most { // its own, those between, and the root, which it need not send
		return refuse(leaf, "was sent with %d others; with chain_depth %d the most is %d: let the client send its own certificate and those of the CAs between", len(shown)-1, c.Depth, most-1)
	}
	bytes := 0
	for _, x := range shown {
		if !whole(x) {
			return refuse(leaf, "or one sent with it is not written as its issuer has: there are bytes that nobody has signed")
		}
		bytes += len(x.Raw)
	}
	if bytes > shownBytesMax {
		return refuse(leaf, "and those sent with it have %d bytes; the most is %d", bytes, shownBytesMax)
	}
	named := make(map[string]bool, len(shown))
	for _, x := range shown[1:] {
		if named[string(x.RawSubject)] {
			return refuse(leaf, "was sent with two certificates of the CA %q: let the client send the one that leads to a CA of client_ca", x.Subject.String())
		}
		named[string(x.RawSubject)] = true
	}
	return nil
}
