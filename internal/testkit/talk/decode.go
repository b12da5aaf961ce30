package talk

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Packet is what a server sent: its fields as the words of a script.
type Packet struct {
	Kind  string
	words []word
	size  int // bytes on the wire
}

// String writes the packet as a script would.
func (p *Packet) String() string {
	var b strings.Builder
	b.WriteString(p.Kind)
	for _, w := range p.words {
		d, _ := lookUp(p.Kind, w.name, false)
		value := w.value
		if d.kind == text || d.kind == pair {
			if len(value) > 80 {
				value = value[:60] + fmt.Sprintf("...(%d bytes)", len(value))
			}
			if strconv.Quote(value) != `"`+value+`"` || value == "" || strings.Contains(value, " ") {
				value = strconv.Quote(value)
			}
		}
		fmt.Fprintf(&b, " %s=%s", w.name, value)
	}
	return b.String()
}

// values are the values of a word, in their order.
func (p *Packet) values(name string) (vs []string) {
	for _, w := range p.words {
		if w.name == name {
			vs = append(vs, w.value)
		}
	}
	return vs
}

func (p *Packet) value(name string) string { return strings.Join(p.values(name), ",") }

func (p *Packet) add(name, value string)          { p.words = append(p.words, word{name: name, value: value}) }
func (p *Packet) addNumber(name string, n uint32) { p.add(name, strconv.FormatUint(uint64(n), 10)) }

// allowed are the properties of the packets a server sends.
var allowed = map[string]map[string]bool{
	"CONNACK": set("session-expiry", "assigned-id", "server-keep-alive", "auth-method", "auth-data", "response-information",
		"server-reference", "reason", "receive-maximum", "alias-maximum", "maximum-qos", "retain-available", "user-property",
		"maximum-packet", "wildcard-available", "subscription-id-available", "shared-available"),
	"PUBLISH": set("payload-format", "message-expiry", "content-type", "response-topic", "correlation", "subscription-id", "alias", "user-property"),
	"PUBACK":  set("reason", "user-property"), "PUBREC": set("reason", "user-property"),
	"PUBREL": set("reason", "user-property"), "PUBCOMP": set("reason", "user-property"),
	"SUBACK": set("reason", "user-property"), "UNSUBACK": set("reason", "user-property"),
	"DISCONNECT": set("server-reference", "reason", "user-property"), // no session expiry from a server
	"AUTH":       set("auth-method", "auth-data", "reason", "user-property"),
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool)
	for _, n := range names {
		m[n] = true
	}
	return m
}

// codes are the reason codes a server may put into each packet in 5.0.
var codes = map[string][]byte{
	"CONNACK": {0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
	"PUBACK":  {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}, "PUBREC": {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
	"PUBREL": {0x00, 0x92}, "PUBCOMP": {0x00, 0x92},
	"SUBACK":   {0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
	"UNSUBACK": {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
	"DISCONNECT": {0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
		0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2},
	"AUTH": {0x00, 0x18},
}

// frameOf finds the first whole packet in b: its body and how many bytes it takes
// with its header. n is 0 if b does not hold all of it.
func frameOf(b []byte) (body []byte, n int, err error) {
	length, at := 0, 1
	for ; ; at++ {
		if at == 5 {
			return nil, 0, fmt.Errorf("a remaining length of more than four bytes")
		}
		if at >= len(b) {
			return nil, 0, nil
		}
		length |= int(b[at]&0x7f) << (7 * (at - 1))
		if b[at] < 0x80 {
			break
		}
	}
	if at > 1 && b[at] == 0 {
		return nil, 0, fmt.Errorf("the remaining length is longer than it needs to be [MQTT-1.5.5-1]")
	}
	at++
	if len(b) < at+length {
		return nil, 0, nil
	}
	return b[at : at+length], at + length, nil
}

// incoming reads a packet of a server and refuses what a server may not send.
type incoming struct {
	v   Version
	p   *Packet
	b   []byte
	err error
}

// decode reads one packet.
func decode(v Version, first byte, body []byte, size int) (*Packet, error) {
	in := &incoming{v: v, b: body, p: &Packet{Kind: typeNames[first>>4], size: size}}
	flags := first & 15
	switch in.p.Kind {
	case "PUBLISH":
		in.publish(flags)
	case "CONNACK":
		in.connack()
	case "PUBACK", "PUBREC", "PUBREL", "PUBCOMP":
		in.ack()
	case "SUBACK", "UNSUBACK":
		in.suback()
	case "PINGRESP":
	case "DISCONNECT", "AUTH":
		if v != V5 {
			return nil, fmt.Errorf("a server sends no %s before 5.0", in.p.Kind)
		}
		in.codeAndProps()
	default:
		return nil, fmt.Errorf("packet type %d from a server", first>>4)
	}
	if want := map[string]byte{"PUBREL": 2, "PUBLISH": flags}[in.p.Kind]; flags != want {
		in.fail("flags %#x of %s [MQTT-2.1.3-1]", flags, in.p.Kind)
	}
	if in.err == nil && len(in.b) > 0 {
		in.fail("%d bytes after the end of %s", len(in.b), in.p.Kind)
	}
	return in.p, in.err
}

func (in *incoming) fail(format string, args ...any) {
	if in.err == nil {
		in.err = fmt.Errorf(format, args...)
	}
	in.b = nil
}

func (in *incoming) take(n int) []byte {
	if len(in.b) < n {
		in.fail("%s ends too early", in.p.Kind)
		return make([]byte, min(n, 8))
	}
	b := in.b[:n]
	in.b = in.b[n:]
	return b
}

func (in *incoming) byte() byte     { return in.take(1)[0] }
func (in *incoming) uint16() uint32 { return uint32(binary.BigEndian.Uint16(in.take(2))) }
func (in *incoming) binary() string { return string(in.take(int(in.uint16()))) }
func (in *incoming) string() string { return in.text(in.binary()) }
func (in *incoming) text(s string) string {
	if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
		in.fail("%q is not a string [MQTT-1.5.4-1] [MQTT-1.5.4-2]", s)
	}
	return s
}

func (in *incoming) varint() (n uint32) {
	for i := range 4 {
		b := in.byte()
		n |= uint32(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i > 0 && b == 0 {
				in.fail("a number is longer than it needs to be [MQTT-1.5.5-1]")
			}
			return n
		}
	}
	in.fail("a variable byte integer of more than four bytes")
	return 0
}

func (in *incoming) packetID() {
	id := in.uint16()
	if id == 0 {
		in.fail("%s has packet identifier 0 [MQTT-2.2.1-4]", in.p.Kind)
	}
	in.p.addNumber("id", id)
}

// code reads a reason code of 5.0, which must be one of the packet's.
func (in *incoming) code() byte {
	c := in.byte()
	if in.err == nil && !slices.Contains(codes[in.p.Kind], c) {
		in.fail("%s may not say %#x", in.p.Kind, c)
	}
	return c
}

func (in *incoming) connack() {
	flags := in.byte()
	var code byte
	if flags > 1 || in.v == V31 && flags > 0 {
		in.fail("reserved CONNACK flags %#x [MQTT-3.2.2-1]", flags)
	}
	if in.v != V31 {
		in.p.addNumber("present", uint32(flags))
	}
	if in.v == V5 {
		code = in.code()
		in.p.addNumber("code", uint32(code))
		in.props()
	} else {
		if code = in.byte(); code > 5 {
			in.fail("reserved return code %d", code)
		}
		in.p.addNumber("return", uint32(code))
	}
	if code != 0 && flags != 0 {
		in.fail("CONNACK refuses and says that a session is present [MQTT-3.2.2-6]")
	}
}

func (in *incoming) publish(flags byte) {
	qos := flags >> 1 & 3
	if qos == 3 || qos == 0 && flags&8 != 0 {
		in.fail("flags %#x of PUBLISH [MQTT-3.3.1-4] [MQTT-3.3.1-2]", flags)
	}
	topic := in.string()
	in.p.add("topic", topic)
	if strings.ContainsAny(topic, "+#") {
		in.fail("a wildcard in topic %q [MQTT-3.3.2-2]", topic)
	}
	in.p.addNumber("qos", uint32(qos))
	if qos > 0 {
		in.packetID()
	}
	in.p.addNumber("dup", uint32(flags>>3))
	in.p.addNumber("retain", uint32(flags&1))
	if in.v == V5 {
		in.props()
	}
	if topic == "" && in.p.values("alias") == nil {
		in.fail("PUBLISH without a topic [MQTT-4.7.3-1]")
	}
	if in.err == nil {
		in.p.add("payload", string(in.b))
		in.b = nil
	}
}

func (in *incoming) ack() {
	in.packetID()
	if in.v == V5 {
		in.codeAndProps()
	}
}

// codeAndProps reads a reason code and properties, each of which may be left out.
func (in *incoming) codeAndProps() {
	code := byte(0)
	if len(in.b) > 0 {
		code = in.code()
	}
	in.p.addNumber("code", uint32(code))
	if len(in.b) > 0 {
		in.props()
	}
}

func (in *incoming) suback() {
	in.packetID()
	if in.v == V5 {
		in.props()
	}
	if in.p.Kind == "UNSUBACK" && in.v != V5 {
		return
	}
	var all []string
	for in.err == nil && len(in.b) > 0 {
		c := in.byte()
		good := codes[in.p.Kind]
		switch in.v {
		case V311:
			good = []byte{0, 1, 2, 0x80}
		case V31:
			good = []byte{0, 1, 2}
		}
		if !slices.Contains(good, c) {
			in.fail("%s may not say %#x [MQTT-3.9.3-2]", in.p.Kind, c)
		}
		all = append(all, strconv.Itoa(int(c)))
	}
	if len(all) == 0 {
		in.fail("%s without a reason code", in.p.Kind)
	}
	in.p.add("codes", strings.Join(all, ","))
}

// props reads a property section.
func (in *incoming) props() {
	rest := in.take(int(in.varint()))
	after := in.b
	in.b = rest
	seen := make(map[string]bool)
	for in.err == nil && len(in.b) > 0 {
		name, ok := propertyWord[in.byte()]
		if !ok || !allowed[in.p.Kind][name] {
			in.fail("a property that %s may not have: %q", in.p.Kind, name)
			return
		}
		if seen[name] && name != "user-property" && !(name == "subscription-id" && in.p.Kind == "PUBLISH") {
			in.fail("%s twice in %s", name, in.p.Kind)
		}
		seen[name] = true
		in.prop(name, properties[name])
	}
	if in.err == nil {
		in.b = after
	}
}

func (in *incoming) prop(name string, d def) {
	switch {
	case d.kind == pair:
		k := in.string()
		in.p.add(name, k+":"+in.string())
		return
	case name == "correlation" || name == "auth-data":
		in.p.add(name, in.binary())
		return
	case d.kind == text:
		in.p.add(name, in.string())
		return
	}
	var n uint32
	switch d.size {
	case 1:
		if n = uint32(in.byte()); n > 1 {
			in.fail("%s is %d", name, n)
		}
	case 2:
		n = in.uint16()
	case 4:
		n = binary.BigEndian.Uint32(in.take(4))
	default:
		n = in.varint()
	}
	if n == 0 && (name == "receive-maximum" || name == "maximum-packet" || name == "alias" || name == "subscription-id") {
		in.fail("%s is 0", name)
	}
	in.p.addNumber(name, n)
}
