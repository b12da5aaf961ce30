package talk

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// types are the packet types by name.
var types = map[string]byte{
	"CONNECT": 1, "CONNACK": 2, "PUBLISH": 3, "PUBACK": 4, "PUBREC": 5, "PUBREL": 6, "PUBCOMP": 7, "SUBSCRIBE": 8,
	"SUBACK": 9, "UNSUBSCRIBE": 10, "UNSUBACK": 11, "PINGREQ": 12, "PINGRESP": 13, "DISCONNECT": 14, "AUTH": 15,
}

var typeNames = func() (names [16]string) {
	for name, t := range types {
		names[t] = name
	}
	return names
}()

// outgoing is a packet that is being written. It writes what it is told, allowed
// or not.
type outgoing struct {
	v     Version
	kind  string
	words []word // resolved
	body  []byte
}

// encode writes a packet of a client. Words the version does not know are left
// out.
func encode(v Version, packet string, words []word) ([]byte, error) {
	o := &outgoing{v: v, kind: packet}
	for _, w := range words {
		if d, _ := lookUp(packet, w.name, true); d.in(v) && w.raw != "-" {
			o.words = append(o.words, w)
		} else if w.raw == "-" {
			o.words = append(o.words, word{name: w.name, raw: "-"})
		}
	}
	flags := byte(0)
	switch packet {
	case "CONNECT":
		o.connect()
	case "PUBLISH":
		flags = o.publish()
	case "PUBACK", "PUBREC", "PUBREL", "PUBCOMP":
		o.ack()
	case "SUBSCRIBE", "UNSUBSCRIBE":
		o.subscribe()
	case "DISCONNECT", "AUTH":
		if v == V5 {
			o.codeAndProps()
		}
	}
	if packet == "PUBREL" || packet == "SUBSCRIBE" || packet == "UNSUBSCRIBE" {
		flags = 2
	}
	o.body = append(o.body, o.text("extra", "")...)
	if n := int(o.num("cut", 0)); n > len(o.body) {
		return nil, fmt.Errorf("cut=%d, the packet has %d bytes", n, len(o.body))
	} else if n > 0 {
		o.body = o.body[:len(o.body)-n]
	}
	flags = byte(o.num("flags", uint32(flags)))
	return append(varint([]byte{types[packet]<<4 | flags&15}, len(o.body)), o.body...), nil
}

func (o *outgoing) find(name string) (word, bool) {
	for _, w := range o.words {
		if w.name == name {
			return w, true
		}
	}
	return word{}, false
}

func (o *outgoing) has(name string) bool {
	w, ok := o.find(name)
	return ok && w.raw != "-"
}

func (o *outgoing) text(name, otherwise string) string {
	if w, ok := o.find(name); ok {
		return w.value
	}
	return otherwise
}

func (o *outgoing) num(name string, otherwise uint32) uint32 {
	if w, ok := o.find(name); ok {
		return numberOf(w.value)
	}
	return otherwise
}

func numberOf(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

func (o *outgoing) uint16(n uint32) { o.body = binary.BigEndian.AppendUint16(o.body, uint16(n)) }
func (o *outgoing) string(s string) { o.body = appendString(o.body, s) }

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// varint writes a variable byte integer in the fewest bytes.
func varint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func (o *outgoing) connect() {
	name := "MQTT"
	if o.v == V31 {
		name = "MQIsdp"
	}
	o.string(o.text("protocol", name))
	o.body = append(o.body, byte(o.num("level", uint32(o.v))))
	flags := byte(o.num("clean", 1)) << 1
	will := o.has("will-topic")
	if will {
		flags |= 4 | byte(o.num("will-qos", 0))<<3 | byte(o.num("will-retain", 0))<<5
	}
	user, password := o.has("username"), o.has("password")
	if user {
		flags |= 0x80
	}
	if password {
		flags |= 0x40
	}
	o.body = append(o.body, byte(o.num("connect-flags", uint32(flags))))
	o.uint16(o.num("keep-alive", 300))
	if o.v == V5 {
		o.props(func(name string) (string, bool) {
			return name, name != "will-delay" && !strings.HasPrefix(name, "will:")
		})
	}
	o.string(o.text("id", ""))
	if will {
		if o.v == V5 {
			o.props(func(name string) (string, bool) {
				rest, own := strings.CutPrefix(name, "will:")
				return rest, own || name == "will-delay"
			})
		}
		o.string(o.text("will-topic", ""))
		o.string(o.text("will-payload", ""))
	}
	if user {
		o.string(o.text("username", ""))
	}
	if password {
		o.string(o.text("password", ""))
	}
}

func (o *outgoing) publish() (flags byte) {
	qos := o.num("qos", 0)
	flags = byte(qos)<<1 | byte(o.num("retain", 0)) | byte(o.num("dup", 0))<<3
	o.string(o.text("topic", ""))
	if qos > 0 {
		o.uint16(o.num("id", 1))
	}
	if o.v == V5 {
		o.props(every)
	}
	o.body = append(o.body, o.text("payload", "")...)
	return flags
}

// every takes all properties of a packet.
func every(name string) (string, bool) { return name, true }

func (o *outgoing) ack() {
	o.uint16(o.num("id", 1))
	if o.v == V5 {
		o.codeAndProps()
	}
}

// codeAndProps writes a reason code and properties, each only if something is
// said, as the standard allows.
func (o *outgoing) codeAndProps() {
	at := len(o.body)
	o.body = append(o.body, byte(o.num("code", 0)))
	full := len(o.body) + 1
	if o.props(every); len(o.body) > full {
		return
	}
	o.body = o.body[:full-1]
	if !o.has("code") {
		o.body = o.body[:at]
	}
}

func (o *outgoing) subscribe() {
	o.uint16(o.num("id", 1))
	if o.v == V5 {
		o.props(every)
	}
	at := -1 // the options byte of the filter that is being written
	for _, w := range o.words {
		n := byte(numberOf(w.value))
		switch w.name {
		case "filter":
			o.string(w.value)
			if o.kind == "SUBSCRIBE" {
				at, o.body = len(o.body), append(o.body, 0)
			}
		case "qos":
			o.option(at, n)
		case "no-local":
			o.option(at, n<<2)
		case "retain-as-published":
			o.option(at, n<<3)
		case "retain-handling":
			o.option(at, n<<4)
		case "options":
			o.option(at, n)
		}
	}
}

func (o *outgoing) option(at int, bits byte) {
	if at >= 0 {
		o.body[at] |= bits
	}
}

// props writes the properties that mine picks, in the order of the words.
func (o *outgoing) props(mine func(name string) (string, bool)) {
	var b []byte
	for _, w := range o.words {
		name, ok := mine(w.name)
		d, isProp := properties[name]
		if !ok || !isProp || w.raw == "-" {
			continue
		}
		b = append(b, d.prop)
		switch n := numberOf(w.value); {
		case d.kind == pair:
			k, v, _ := strings.Cut(w.value, ":")
			b = appendString(appendString(b, k), v)
		case d.kind == text:
			b = appendString(b, w.value)
		case d.size == 1:
			b = append(b, byte(n))
		case d.size == 2:
			b = binary.BigEndian.AppendUint16(b, uint16(n))
		case d.size == 4:
			b = binary.BigEndian.AppendUint32(b, n)
		default:
			b = varint(b, int(n))
		}
	}
	o.body = append(varint(o.body, len(b)), b...)
}

// rawBytes reads `raw`: hexadecimal bytes, text:..., str:... with its length
// before it, and [ ... ] for a part with its length before it as a variable byte
// integer.
func rawBytes(tokens []string) ([]byte, error) {
	stack := [][]byte{nil}
	for _, t := range tokens {
		top := len(stack) - 1
		switch {
		case t == "[":
			stack = append(stack, nil)
		case t == "]":
			if top == 0 {
				return nil, fmt.Errorf("] without [")
			}
			inner := stack[top]
			stack = stack[:top]
			stack[top-1] = append(varint(stack[top-1], len(inner)), inner...)
		case strings.HasPrefix(t, "str:"), strings.HasPrefix(t, "text:"):
			s, err := bytesOf(t[strings.Index(t, ":")+1:])
			if err != nil {
				return nil, err
			}
			if t[0] == 's' {
				stack[top] = appendString(stack[top], s)
			} else {
				stack[top] = append(stack[top], s...)
			}
		default:
			b, err := hex.DecodeString(t)
			if err != nil {
				return nil, fmt.Errorf("%s is neither bytes, str:, text:, [ nor ]", t)
			}
			stack[top] = append(stack[top], b...)
		}
	}
	if len(stack) > 1 {
		return nil, fmt.Errorf("[ without ]")
	}
	return stack[0], nil
}
