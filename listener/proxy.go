package listener

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The PROXY protocol of HAProxy, versions 1 and 2: what a proxy in front of a listener
// writes before the bytes of the client, to say whose they are.
//
// Rules: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt; attack A157. Where
// the document leaves a choice, the strict one is taken: a header is believed, so one
// that two readers could take differently is none.

// Sizes of a header, bytes.
const (
	// ProxyV2BodyMax is what may follow the fixed part of version 2: addresses (36 at
	// most, for IPv6) and what is said beside them. HAProxy with the name of a client's
	// certificate says some 200 bytes, a balancer of a cloud some 80.
	ProxyV2BodyMax = 2048

	proxyV1Max   = 107 // with its CR LF, as the document has it
	proxyV1Min   = 15  // PROXY UNKNOWN CR LF
	proxyV2Fixed = 16

	// ProxyHeaderMax is the longest header there is.
	ProxyHeaderMax = proxyV2Fixed + ProxyV2BodyMax
)

var (
	proxyV1 = []byte("PROXY ")
	proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// ProxyHeader is what a proxy has said.
type ProxyHeader struct {
	Local bool           // the proxy speaks for itself, such as to see whether we are there
	From  netip.AddrPort // the client, IPv4 unmapped; the zero AddrPort if Local
	TLS   ProxyTLS
}

// ProxyTLS is what a proxy says of the TLS connection that ends at it; the zero
// ProxyTLS: nothing.
type ProxyTLS struct {
	Encrypted bool   // the client came with TLS
	Shown     bool   // it has shown a certificate
	Verified  bool   // which the proxy has accepted
	CN        string // common name of it
}

// errNoProxy is what begins in another way.
var errNoProxy = errors.New("it does not begin with a PROXY header")

// errUnknownClient is a client whose address the proxy does not know.
var errUnknownClient = errors.New("the proxy does not say the address of its client, and nobody is let in whom nobody can judge; health checks of version 1 do so, and are none the worse for it")

// ProxyUnknown tells whether err is about a proxy that does not say who its client is,
// which is no attack.
func ProxyUnknown(err error) bool { return errors.Is(err, errUnknownClient) }

// ProxySize tells how many bytes have to be there before more can be said of a header
// that begins with b; it is whole when they are. Never are bytes waited for that could
// be the client's. An error is what can never become a header; its text, and that of
// ParseProxy, is one of a few and the same for all headers with that mistake: the log
// has a line for each.
func ProxySize(b []byte) (need int, err error) {
	switch {
	case len(b) == 0:
		return 1, nil
	case b[0] == proxyV1[0]:
		return proxyV1Size(b)
	case b[0] == proxyV2[0]:
		return proxyV2Size(b)
	}
	return 0, errNoProxy
}

func proxyV1Size(b []byte) (int, error) {
	if n := min(len(b), len(proxyV1)); !bytes.Equal(b[:n], proxyV1[:n]) {
		return 0, errNoProxy
	}
	if i := bytes.IndexByte(b[:min(len(b), proxyV1Max)], '\n'); i >= 0 {
		return i + 1, nil
	}
	if len(b) >= proxyV1Max {
		return 0, errors.New("a header of version 1 has no end within 107 bytes")
	}
	if len(b) > 0 && b[len(b)-1] == '\r' || len(b) >= proxyV1Min-1 {
		return len(b) + 1, nil
	}
	return proxyV1Min, nil
}

func proxyV2Size(b []byte) (int, error) {
	if n := min(len(b), len(proxyV2)); !bytes.Equal(b[:n], proxyV2[:n]) {
		return 0, errNoProxy
	}
	if len(b) < proxyV2Fixed {
		return proxyV2Fixed, nil
	}
	body := int(binary.BigEndian.Uint16(b[14:]))
	if body > ProxyV2BodyMax {
		return 0, fmt.Errorf("a header of version 2 announces more than %d bytes", ProxyV2BodyMax)
	}
	return proxyV2Fixed + body, nil
}

// ParseProxy reads a whole header, of the length that ProxySize says. Its errors hold
// nothing that was written in it.
func ParseProxy(b []byte) (ProxyHeader, error) {
	if bytes.HasPrefix(b, proxyV1) {
		return parseProxyV1(b)
	}
	if len(b) < proxyV2Fixed || !bytes.HasPrefix(b, proxyV2) {
		return ProxyHeader{}, errNoProxy
	}
	return parseProxyV2(b)
}

func parseProxyV1(b []byte) (h ProxyHeader, err error) {
	line, ended := strings.CutSuffix(string(b), "\r\n")
	if !ended || strings.ContainsAny(line, "\r\n") {
		return h, errors.New("a header of version 1 does not end in CR LF")
	}
	if line == "PROXY UNKNOWN" || strings.HasPrefix(line, "PROXY UNKNOWN ") {
		return h, errUnknownClient
	}
	parts := strings.Split(line, " ")
	if len(parts) != 6 || parts[1] != "TCP4" && parts[1] != "TCP6" {
		return h, errors.New("a header of version 1 is not PROXY, TCP4 or TCP6, two addresses and two ports, with one space between them")
	}
	var ports [2]uint16
	for i, text := range parts[4:] {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || strconv.FormatUint(n, 10) != text {
			return h, errors.New("a port of a header of version 1 is no number from 0 to 65535 as one writes it")
		}
		ports[i] = uint16(n)
	}
	var addrs [2]netip.Addr
	for i, text := range parts[2:4] {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.Is4() != (parts[1] == "TCP4") {
			return h, errors.New("an address of a header of version 1 is none of its family")
		}
		addrs[i] = a
	}
	return proxied(h, netip.AddrPortFrom(addrs[0], ports[0]))
}

// proxied takes the client's address, unless no client can have it.
func proxied(h ProxyHeader, from netip.AddrPort) (ProxyHeader, error) {
	a := from.Addr().Unmap()
	if a.IsUnspecified() || a.IsMulticast() {
		return ProxyHeader{}, errors.New("the address of the client is one that no client has")
	}
	h.From = netip.AddrPortFrom(a, from.Port())
	return h, nil
}

func parseProxyV2(b []byte) (h ProxyHeader, err error) {
	if b[12]>>4 != 2 || b[12]&0xF > 1 || int(binary.BigEndian.Uint16(b[14:])) != len(b)-proxyV2Fixed {
		return h, errors.New("a header of version 2 has an unknown version or command, or another length than it says")
	}
	body := b[proxyV2Fixed:]
	if b[12]&0xF == 0 {
		// LOCAL: what else it says is not looked at, as the document asks for.
		return ProxyHeader{Local: true}, nil
	}
	var from netip.AddrPort
	switch b[13] {
	case 0x11: // TCP over IPv4
		if len(body) < 12 {
			return h, errors.New("a header of version 2 has no room for its addresses")
		}
		from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
		body = body[12:]
	case 0x21: // TCP over IPv6
		if len(body) < 36 {
			return h, errors.New("a header of version 2 has no room for its addresses")
		}
		from = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)), binary.BigEndian.Uint16(body[32:]))
		body = body[36:]
	case 0x00, 0x31: // unspecified, or a unix socket
		return h, errUnknownClient
	default:
		return h, errors.New("a header of version 2 is about another transport than TCP, or an unknown one")
	}
	if err := h.said(b, body); err != nil {
		return ProxyHeader{}, err
	}
	return proxied(h, from)
}

// Types of what is said beside the addresses.
const (
	tlvALPN      = 0x01
	tlvAuthority = 0x02
	tlvCRC32C    = 0x03
	tlvUniqueID  = 0x05
	tlvSSL       = 0x20
	tlvVersion   = 0x21 // these only within tlvSSL
	tlvCN        = 0x22
	tlvCipher    = 0x23
	tlvSigAlg    = 0x24
	tlvKeyAlg    = 0x25
	tlvGroup     = 0x26
	tlvSigScheme = 0x27
	tlvNetNS     = 0x30

	authorityMax = 255
	uniqueIDMax  = 128

	sslEncrypted, sslShownHere, sslShownBefore = 1, 2, 4 // bits of the client byte
)

// said reads what follows the addresses. Types of ours to know are there once, and hold no
// control characters: such text ends in logs and in decisions. Others are passed over.
func (h *ProxyHeader) said(whole, tlvs []byte) error {
	var seen [256]bool
	for at := tlvs; len(at) > 0; {
		kind, value, rest, err := nextTLV(at)
		if err != nil {
			return err
		}
		switch kind {
		case tlvALPN, tlvAuthority, tlvCRC32C, tlvUniqueID, tlvSSL, tlvNetNS:
			if seen[kind] {
				return errors.New("a header of version 2 says something twice")
			}
			seen[kind] = true
		}
		switch kind {
		case tlvALPN, tlvNetNS:
			err = plainText(value, len(value))
		case tlvAuthority:
			err = plainText(value, authorityMax)
		case tlvUniqueID:
			err = plainText(value, uniqueIDMax)
		case tlvCRC32C:
			err = checkCRC(whole, value, len(whole)-len(rest)-len(value))
		case tlvSSL:
			err = h.TLS.said(value)
		}
		if err != nil {
			return err
		}
		at = rest
	}
	return nil
}

func nextTLV(b []byte) (kind byte, value, rest []byte, err error) {
	if len(b) < 3 {
		return 0, nil, nil, errors.New("a header of version 2 ends in the middle of something")
	}
	n := 3 + int(binary.BigEndian.Uint16(b[1:]))
	if n > len(b) {
		return 0, nil, nil, errors.New("a header of version 2 ends in the middle of something")
	}
	return b[0], b[3:n], b[n:], nil
}

// plainText refuses what is no text of one line.
func plainText(b []byte, most int) error {
	if len(b) > most || !utf8.Valid(b) || bytes.ContainsFunc(b, unicode.IsControl) {
		return errors.New("a text in a header of version 2 is too long, not UTF-8, or has control characters")
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkCRC compares the sum at this place of the header with that over it, in which the
// sum itself counts as zero.
func checkCRC(whole, sum []byte, at int) error {
	if len(sum) != 4 {
		return errors.New("the checksum in a header of version 2 has not four bytes")
	}
	got := crc32.Update(0, castagnoli, whole[:at])
	got = crc32.Update(got, castagnoli, make([]byte, 4))
	got = crc32.Update(got, castagnoli, whole[at+4:])
	if got != binary.BigEndian.Uint32(sum) {
		return errors.New("the checksum of a header of version 2 is wrong")
	}
	return nil
}

// said reads what the proxy knows of the client's TLS connection.
func (t *ProxyTLS) said(b []byte) error {
	if len(b) < 5 {
		return errors.New("what a header of version 2 says of TLS is too short")
	}
	client, verify := b[0], binary.BigEndian.Uint32(b[1:])
	t.Encrypted = client&sslEncrypted != 0
	t.Shown = client&(sslShownHere|sslShownBefore) != 0
	t.Verified = t.Shown && verify == 0
	var seen [256]bool
	for at := b[5:]; len(at) > 0; {
		kind, value, rest, err := nextTLV(at)
		if err != nil {
			return err
		}
		switch kind {
		case tlvVersion, tlvCN, tlvCipher, tlvSigAlg, tlvKeyAlg, tlvGroup, tlvSigScheme:
			if seen[kind] {
				return errors.New("a header of version 2 says something twice")
			}
			seen[kind] = true
			if err := plainText(value, len(value)); err != nil {
				return err
			}
		}
		if kind == tlvCN {
			t.CN = string(value)
		}
		at = rest
	}
	return nil
}
