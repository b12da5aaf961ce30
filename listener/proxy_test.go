package listener

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/metrics"
)

// v2 is a header of version 2 around this body.
func v2(command, family byte, body ...byte) []byte {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family, byte(len(body)>>8), byte(len(body)))
	return append(b, body...)
}

// tlv is one thing said beside the addresses.
func tlv(kind byte, value string) []byte {
	return append([]byte{kind, byte(len(value) >> 8), byte(len(value))}, value...)
}

// inet4 is 203.0.113.7:4711 to 192.0.2.1:1883, and what is said beside it.
func inet4(said ...[]byte) []byte {
	b := []byte{203, 0, 113, 7, 192, 0, 2, 1, 4711 >> 8, 4711 & 0xFF, 1883 >> 8, 1883 & 0xFF}
	for _, s := range said {
		b = append(b, s...)
	}
	return b
}

func ssl(client byte, verify uint32, said ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{client}, verify)
	for _, s := range said {
		b = append(b, s...)
	}
	return tlv(tlvSSL, string(b))
}

// summed is a header with a checksum, wrong by add.
func summed(add uint32) []byte {
	b := v2(0x21, 0x11, inet4(tlv(tlvCRC32C, "\x00\x00\x00\x00"), tlv(tlvAuthority, "broker.example.com"))...)
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) + add
	binary.BigEndian.PutUint32(b[proxyV2Fixed+12+3:], sum)
	return b
}

func inet6(a string) []byte {
	src := netip.MustParseAddr(a).As16()
	b := append(src[:], make([]byte, 16)...)
	return append(b, 0x12, 0x67, 7, 91)
}

var proxyRows = []struct {
	name, header, from string // from: "" refused, "local", or the client
}{
	{"v1", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883\r\n", "203.0.113.7:4711"},
	{"v1 IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 1883\r\n", "[2001:db8::7]:4711"},
	{"v1 the longest", "PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 2001:db8:1111:2222:3333:4444:5555:7777 65535 65535\r\n", "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"},
	{"v1 mapped", "PROXY TCP6 ::ffff:203.0.113.7 ::ffff:192.0.2.1 4711 1883\r\n", "203.0.113.7:4711"},
	{"v1 port 0", "PROXY TCP4 203.0.113.7 192.0.2.1 0 1883\r\n", "203.0.113.7:0"},
	{"v1 two spaces", "PROXY  TCP4 203.0.113.7 192.0.2.1 4711 1883\r\n", ""},
	{"v1 two spaces later", "PROXY TCP4 203.0.113.7  192.0.2.1 4711 1883\r\n", ""},
	{"v1 space at the end", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883 \r\n", ""},
	{"v1 tab", "PROXY TCP4\t203.0.113.7 192.0.2.1 4711 1883\r\n", ""},
	{"v1 lower case", "proxy TCP4 203.0.113.7 192.0.2.1 4711 1883\r\n", ""},
	{"v1 family in lower case", "PROXY tcp4 203.0.113.7 192.0.2.1 4711 1883\r\n", ""},
	{"v1 zeros before a port", "PROXY TCP4 203.0.113.7 192.0.2.1 04711 1883\r\n", ""},
	{"v1 zeros in an address", "PROXY TCP4 203.0.113.07 192.0.2.1 4711 1883\r\n", ""},
	{"v1 port over 65535", "PROXY TCP4 203.0.113.7 192.0.2.1 65536 1883\r\n", ""},
	{"v1 port with a sign", "PROXY TCP4 203.0.113.7 192.0.2.1 +4711 1883\r\n", ""},
	{"v1 port of no number", "PROXY TCP4 203.0.113.7 192.0.2.1 mqtt 1883\r\n", ""},
	{"v1 zone", "PROXY TCP6 fe80::7%eth0 fe80::1 4711 1883\r\n", ""},
	{"v1 IPv6 as TCP4", "PROXY TCP4 2001:db8::7 192.0.2.1 4711 1883\r\n", ""},
	{"v1 IPv4 as TCP6", "PROXY TCP6 203.0.113.7 192.0.2.1 4711 1883\r\n", ""},
	{"v1 one address", "PROXY TCP4 203.0.113.7 4711 1883\r\n", ""},
	{"v1 something behind", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883 x\r\n", ""},
	{"v1 LF alone", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883\n", ""},
	{"v1 CR within", "PROXY TCP4 203.0.113.7\r 192.0.2.1 4711 1883\r\n", ""},
	{"v1 NUL", "PROXY TCP4 203.0.113.7\x00 192.0.2.1 4711 1883\r\n", ""},
	{"v1 unknown", "PROXY UNKNOWN\r\n", ""},
	{"v1 unknown with addresses", "PROXY UNKNOWN 203.0.113.7 192.0.2.1 4711 1883\r\n", ""},
	{"v1 another protocol", "PROXY UDP4 203.0.113.7 192.0.2.1 4711 1883\r\n", ""},
	{"v1 multicast", "PROXY TCP4 224.0.0.1 192.0.2.1 4711 1883\r\n", ""},
	{"v1 nobody", "PROXY TCP4 0.0.0.0 192.0.2.1 4711 1883\r\n", ""},

	{"v2", string(v2(0x21, 0x11, inet4()...)), "203.0.113.7:4711"},
	{"v2 IPv6", string(v2(0x21, 0x21, inet6("2001:db8::7")...)), "[2001:db8::7]:4711"},
	{"v2 mapped", string(v2(0x21, 0x21, inet6("::ffff:203.0.113.7")...)), "203.0.113.7:4711"},
	{"v2 nobody", string(v2(0x21, 0x21, inet6("::")...)), ""},
	{"v2 local", string(v2(0x20, 0x00)), "local"},
	{"v2 local with whatever", string(v2(0x20, 0x11, 1, 2, 3)), "local"},
	{"v2 unspecified", string(v2(0x21, 0x00)), ""},
	{"v2 unix", string(v2(0x21, 0x31, make([]byte, 216)...)), ""},
	{"v2 UDP", string(v2(0x21, 0x12, inet4()...)), ""},
	{"v2 unknown family", string(v2(0x21, 0x41, inet4()...)), ""},
	{"v2 version 1", string(v2(0x11, 0x11, inet4()...)), ""},
	{"v2 version 3", string(v2(0x31, 0x11, inet4()...)), ""},
	{"v2 command 2", string(v2(0x22, 0x11, inet4()...)), ""},
	{"v2 no room for IPv4", string(v2(0x21, 0x11, inet4()[:11]...)), ""},
	{"v2 no room for IPv6", string(v2(0x21, 0x21, inet6("2001:db8::7")[:35]...)), ""},
	{"v2 what clouds say", string(v2(0x21, 0x11, inet4(tlv(0xEA, "\x01vpce-08d2bf15fac5001c9"), tlv(4, "\x00\x00"))...)), "203.0.113.7:4711"},
	{"v2 names", string(v2(0x21, 0x11, inet4(tlv(tlvALPN, "mqtt"), tlv(tlvAuthority, "broker.example.com"), tlv(tlvUniqueID, "a-1"), tlv(tlvNetNS, "blue"))...)), "203.0.113.7:4711"},
	{"v2 half a TLV", string(v2(0x21, 0x11, inet4([]byte{4, 0})...)), ""},
	{"v2 TLV too long", string(v2(0x21, 0x11, inet4([]byte{4, 0, 2, 1})...)), ""},
	{"v2 TLV far too long", string(v2(0x21, 0x11, inet4([]byte{4, 0xFF, 0xFF, 1})...)), ""},
	{"v2 authority twice", string(v2(0x21, 0x11, inet4(tlv(tlvAuthority, "a"), tlv(tlvAuthority, "b"))...)), ""},
	{"v2 authority with a control character", string(v2(0x21, 0x11, inet4(tlv(tlvAuthority, "a\nb"))...)), ""},
	{"v2 authority of 256", string(v2(0x21, 0x11, inet4(tlv(tlvAuthority, strings.Repeat("a", 256)))...)), ""},
	{"v2 authority not UTF-8", string(v2(0x21, 0x11, inet4(tlv(tlvAuthority, "a\xff"))...)), ""},
	{"v2 ALPN with NUL", string(v2(0x21, 0x11, inet4(tlv(tlvALPN, "mqtt\x00"))...)), ""},
	{"v2 unique id with a control character", string(v2(0x21, 0x11, inet4(tlv(tlvUniqueID, "a\x1b[2J"))...)), ""},
	{"v2 unique id of 129", string(v2(0x21, 0x11, inet4(tlv(tlvUniqueID, strings.Repeat("a", 129)))...)), ""},
	{"v2 namespace with DEL", string(v2(0x21, 0x11, inet4(tlv(tlvNetNS, "a\x7f"))...)), ""},
	{"v2 TLS", string(v2(0x21, 0x11, inet4(ssl(7, 0, tlv(tlvVersion, "TLSv1.3"), tlv(tlvCN, "dev-1")))...)), "203.0.113.7:4711"},
	{"v2 TLS too short", string(v2(0x21, 0x11, inet4(tlv(tlvSSL, "\x01\x00\x00\x00"))...)), ""},
	{"v2 TLS with a TLV too long", string(v2(0x21, 0x11, inet4(ssl(7, 0, []byte{tlvCN, 0, 9, 'a'}))...)), ""},
	{"v2 CN with a control character", string(v2(0x21, 0x11, inet4(ssl(7, 0, tlv(tlvCN, "dev\n1")))...)), ""},
	{"v2 CN twice", string(v2(0x21, 0x11, inet4(ssl(7, 0, tlv(tlvCN, "a"), tlv(tlvCN, "b")))...)), ""},
	{"v2 cipher with a control character", string(v2(0x21, 0x11, inet4(ssl(7, 0, tlv(tlvCipher, "x\x00")))...)), ""},
	{"v2 checksum", string(summed(0)), "203.0.113.7:4711"},
	{"v2 wrong checksum", string(summed(1)), ""},
	{"v2 checksum of 3 bytes", string(v2(0x21, 0x11, inet4(tlv(tlvCRC32C, "abc"))...)), ""},
	{"v2 over the most", string(v2(0x21, 0x11, inet4(tlv(4, strings.Repeat("x", ProxyV2BodyMax-12-3+1)))...)), ""},
	{"v2 the most", string(v2(0x21, 0x11, inet4(tlv(4, strings.Repeat("x", ProxyV2BodyMax-12-3)))...)), "203.0.113.7:4711"},

	{"nothing of the kind", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", ""},
	{"HTTP", "GET / HTTP/1.1\r\n\r\n", ""},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""},
	{"nearly v2", "\r\n\r\n\x00\r\nQUIT\r", ""},
	{"nearly v1", "PROXYTCP4 203.0.113.7 192.0.2.1 4711 1883\r\n", ""},
	{"v1 without end", "PROXY TCP4 " + strings.Repeat("1", 200), ""},
}

// readProxy takes a header off a stream that comes in pieces of n bytes, as an engine
// does, and tells how much was taken.
func readProxy(t *testing.T, stream string, n int) (h ProxyHeader, taken int, err error) {
	t.Helper()
	have := 0
	for {
		need, err := ProxySize([]byte(stream[:have]))
		if err != nil {
			return h, 0, err
		}
		if need <= have {
			h, err := ParseProxy([]byte(stream[:need]))
			return h, need, err
		}
		if need > ProxyHeaderMax {
			t.Fatalf("%d bytes are waited for", need)
		}
		if have == len(stream) {
			t.Fatalf("%q: %d bytes are waited for after all %d", stream, need, have)
		}
		have = min(have+n, need, len(stream)) // never more than was asked for
	}
}

// A157: whatever the pieces it comes in, a header is the client's address or refused; and
// what is behind it is not touched.
func TestProxyHeaders(t *testing.T) {
	for _, row := range proxyRows {
		for _, piece := range []int{1, 2, 7, 1 << 16} {
			h, taken, err := readProxy(t, row.header+"\x10\x00\n\r\nPROXY ", piece)
			got := ""
			switch {
			case err != nil:
			case h.Local:
				got = "local"
			default:
				got = h.From.String()
			}
			if got != row.from {
				t.Errorf("%s in pieces of %d: %q (%v), want %q", row.name, piece, got, err, row.from)
			}
			if err == nil && taken != len(row.header) {
				t.Errorf("%s in pieces of %d: %d bytes were taken of %d", row.name, piece, taken, len(row.header))
			}
		}
	}
}

// What can be no header is refused at the byte that says so.
func TestNoProxyHeaderIsKnownEarly(t *testing.T) {
	for _, b := range []string{"\x10", "G", "\x16", "PROXZ", "p", "\r\r", "\r\n\r\n\x00\r\nQUIT\r", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x08\x01"} {
		if need, err := ProxySize([]byte(b)); err == nil {
			t.Errorf("%q: %d bytes are waited for", b, need)
		}
	}
}

func TestWhatAProxySaysOfTLS(t *testing.T) {
	for _, row := range []struct {
		client byte
		verify uint32
		want   ProxyTLS
	}{
		{0, 0, ProxyTLS{CN: "dev-1"}},
		{1, 0, ProxyTLS{Encrypted: true, CN: "dev-1"}}, // HAProxy: no certificate, and verify is 0
		{3, 0, ProxyTLS{true, true, true, "dev-1"}},
		{5, 0, ProxyTLS{true, true, true, "dev-1"}},
		{5, 1, ProxyTLS{true, true, false, "dev-1"}},
		{1, 1, ProxyTLS{Encrypted: true, CN: "dev-1"}},
	} {
		h, err := ParseProxy(v2(0x21, 0x11, inet4(ssl(row.client, row.verify, tlv(tlvCN, "dev-1")))...))
		if err != nil || h.TLS != row.want {
			t.Errorf("%d %d: %+v %v, want %+v", row.client, row.verify, h.TLS, err, row.want)
		}
	}
}

// Errors go to the log: nothing that was sent is in them.
func TestProxyErrorsQuoteNothing(t *testing.T) {
	for _, h := range []string{"PROXY TCP4 canary canary 1 1\r\n", "PROXY canary\r\n", string(v2(0x21, 0x11, inet4(tlv(tlvAuthority, "canary\n"))...))} {
		if _, err := ParseProxy([]byte(h)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", h, err)
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	for _, row := range proxyRows {
		f.Add([]byte(row.header))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		have := 0
		for {
			need, err := ProxySize(b[:have])
			if err != nil {
				return
			}
			if need > ProxyHeaderMax || need < 1 {
				t.Fatalf("%d bytes are waited for", need)
			}
			if need <= have {
				if need != have { // it was found as early as could be
					t.Fatalf("whole at %d, said at %d", need, have)
				}
				break
			}
			if have = have + 1; have > len(b) {
				return
			}
		}
		h, err := ParseProxy(b[:have])
		if err != nil {
			return
		}
		a := h.From.Addr()
		if h.Local != !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsValid() && a.IsUnspecified() {
			t.Fatalf("%+v", h)
		}
		if strings.ContainsAny(h.TLS.CN, "\x00\n\r\x1b\x7f") || h.TLS.Verified && !h.TLS.Shown {
			t.Fatalf("%+v", h.TLS)
		}
		// Nothing shorter is the same header, and nothing behind it changes it.
		if size, err := ProxySize(append(b[:have:have], "\n\r\nPROXY"...)); err != nil || size != have {
			t.Fatalf("with more behind it: %d, %v", size, err)
		}
	})
}

// A reload may take PROXY away between the moment in which a connection was found to be a
// proxy's and that in which it is admitted. Nobody is heard then, and nothing breaks.
func TestProxyIsTakenAwayMeanwhile(t *testing.T) {
	p := newPorch(t, DoorLimits{ConnectionsTotal: 10, UnauthenticatedTotal: 10, HandshakesTotal: 10})
	l := &Listener{Name: "l", Door: p.Door}
	if _, refusal := l.AdmitProxy(netip.MustParseAddr("192.0.2.1")); refusal != NoProxy {
		t.Errorf("refused by %q, want %q", refusal, NoProxy)
	}
	p.count(metrics.ConnectionsRefusedProxySource, 1)
	p.count(metrics.Connections, 0)
}

// What is wrong with a header is said in the same words whatever it holds: the log has a line
// for each text, and must not have as many as there are sizes.
func TestMistakesOfHeadersAreFew(t *testing.T) {
	texts := map[string]bool{}
	for size := range 1 << 16 {
		head := append(slices.Clone(proxyV2), 0x21, 0x11, byte(size>>8), byte(size))
		if _, err := ProxySize(head); err != nil {
			texts[err.Error()] = true
		}
		if size < 300 {
			if _, err := ParseProxy(append(head, make([]byte, size)...)); err != nil {
				texts[err.Error()] = true
			}
			if _, err := ParseProxy(fmt.Appendf(nil, "PROXY TCP4 192.0.2.%d 192.0.2.1 %d 1\r\n", size, size<<9)); err != nil {
				texts[err.Error()] = true
			}
		}
	}
	if len(texts) < 3 || len(texts) > 8 {
		t.Errorf("%d texts: %v", len(texts), slices.Sorted(maps.Keys(texts)))
	}
}
