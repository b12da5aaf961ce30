package mqtt

import (
	"encoding/binary"
	"math"
)

// Property identifiers, MQTT 5.0 section 2.2.2.2.
const (
	propPayloadFormat              = 0x01
	propMessageExpiry              = 0x02
	propContentType                = 0x03
	propResponseTopic              = 0x08
	propCorrelationData            = 0x09
	propSubscriptionID             = 0x0B
	propSessionExpiry              = 0x11
	propAssignedClientID           = 0x12
	propServerKeepAlive            = 0x13
	propAuthMethod                 = 0x15
	propAuthData                   = 0x16
	propRequestProblemInformation  = 0x17
	propWillDelay                  = 0x18
	propRequestResponseInformation = 0x19
	propResponseInformation        = 0x1A
	propServerReference            = 0x1C
	propReasonString               = 0x1F
	propReceiveMaximum             = 0x21
	propTopicAliasMaximum          = 0x22
	propTopicAlias                 = 0x23
	propMaximumQoS                 = 0x24
	propRetainAvailable            = 0x25
	propUserProperty               = 0x26
	propMaximumPacketSize          = 0x27
	propWildcardAvailable          = 0x28
	propSubscriptionIDAvailable    = 0x29
	propSharedAvailable            = 0x2A

	propCount = 0x2B
)

// place is where a property section stands: a packet type, or the will of a
// CONNECT, which takes the number no packet has.
type place = Type

const inWill place = 0

// propKind is the shape of a property's value.
type propKind byte

const (
	kindNone propKind = iota // no such property
	kindBool                 // one byte, 0 or 1
	kindUint16
	kindUint32
	kindVarint
	kindBinary
	kindText
	kindPair
)

// propRule is one row of the table of properties.
type propRule struct {
	name string
	kind propKind
	in   uint16 // bit set of places
	// zero is the reason a value of 0 is refused with, and zeroRule its statement;
	// Success lets 0 pass.
	zero     ReasonCode
	zeroRule string
}

func places(ps ...place) (s uint16) {
	for _, p := range ps {
		s |= 1 << p
	}
	return s
}

var (
	messages = places(PUBLISH, inWill)
	answers  = places(CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH)
	anywhere = answers | messages | places(CONNECT, SUBSCRIBE, UNSUBSCRIBE)
)

var propRules = [propCount]propRule{
	propPayloadFormat:              {name: "Payload Format Indicator", kind: kindBool, in: messages},
	propMessageExpiry:              {name: "Message Expiry Interval", kind: kindUint32, in: messages},
	propContentType:                {name: "Content Type", kind: kindText, in: messages},
	propResponseTopic:              {name: "Response Topic", kind: kindText, in: messages},
	propCorrelationData:            {name: "Correlation Data", kind: kindBinary, in: messages},
	propSubscriptionID:             {name: "Subscription Identifier", kind: kindVarint, in: places(PUBLISH, SUBSCRIBE), zero: ProtocolError, zeroRule: "§3.8.2.1.2"},
	propSessionExpiry:              {name: "Session Expiry Interval", kind: kindUint32, in: places(CONNECT, CONNACK, DISCONNECT)},
	propAssignedClientID:           {name: "Assigned Client Identifier", kind: kindText, in: places(CONNACK)},
	propServerKeepAlive:            {name: "Server Keep Alive", kind: kindUint16, in: places(CONNACK)},
	propAuthMethod:                 {name: "Authentication Method", kind: kindText, in: places(CONNECT, CONNACK, AUTH)},
	propAuthData:                   {name: "Authentication Data", kind: kindBinary, in: places(CONNECT, CONNACK, AUTH)},
	propRequestProblemInformation:  {name: "Request Problem Information", kind: kindBool, in: places(CONNECT)},
	propWillDelay:                  {name: "Will Delay Interval", kind: kindUint32, in: places(inWill)},
	propRequestResponseInformation: {name: "Request Response Information", kind: kindBool, in: places(CONNECT)},
	propResponseInformation:        {name: "Response Information", kind: kindText, in: places(CONNACK)},
	propServerReference:            {name: "Server Reference", kind: kindText, in: places(CONNACK, DISCONNECT)},
	propReasonString:               {name: "Reason String", kind: kindText, in: answers},
	propReceiveMaximum:             {name: "Receive Maximum", kind: kindUint16, in: places(CONNECT, CONNACK), zero: ProtocolError, zeroRule: "§3.1.2.11.3"},
	propTopicAliasMaximum:          {name: "Topic Alias Maximum", kind: kindUint16, in: places(CONNECT, CONNACK)},
	propTopicAlias:                 {name: "Topic Alias", kind: kindUint16, in: places(PUBLISH), zero: TopicAliasInvalid, zeroRule: "MQTT-3.3.2-8"},
	propMaximumQoS:                 {name: "Maximum QoS", kind: kindBool, in: places(CONNACK)},
	propRetainAvailable:            {name: "Retain Available", kind: kindBool, in: places(CONNACK)},
	propUserProperty:               {name: "User Property", kind: kindPair, in: anywhere},
	propMaximumPacketSize:          {name: "Maximum Packet Size", kind: kindUint32, in: places(CONNECT, CONNACK), zero: ProtocolError, zeroRule: "§3.1.2.11.4"},
	propWildcardAvailable:          {name: "Wildcard Subscription Available", kind: kindBool, in: places(CONNACK)},
	propSubscriptionIDAvailable:    {name: "Subscription Identifier Available", kind: kindBool, in: places(CONNACK)},
	propSharedAvailable:            {name: "Shared Subscription Available", kind: kindBool, in: places(CONNACK)},
}

// property is one decoded property. Its slices alias the section.
type property struct {
	id    byte
	num   uint32 // of the number kinds
	value []byte // of the binary and text kinds, and the value of a pair
	name  []byte // the name of a pair
	raw   []byte // identifier and value as they stand on the wire
}

// flag is the value of a kindBool property.
func (p *property) flag() bool { return p.num == 1 }

// propIter walks a property section and refuses what the table does not allow, in
// one pass and without allocating. many is the identifier that may repeat besides
// User Property: Subscription Identifier in a PUBLISH to a client.
type propIter struct {
	rest  []byte
	at    place
	many  byte
	seen  uint64 // bit set of identifiers
	users int    // user properties that may still come
	err   *Error
}

func newPropIter(section []byte, at place, users int) propIter {
	return propIter{rest: section, at: at, users: users}
}

// allowance is the number of user properties a limit allows.
func (l Limits) allowance() int {
	if l.UserProperties < 0 {
		return math.MaxInt
	}
	return l.UserProperties
}

// next reads one property into p. It answers false at the end and at the first
// failure; err tells which.
func (it *propIter) next(p *property) bool {
	if it.err != nil || len(it.rest) == 0 {
		return false
	}
	id := it.rest[0]
	// Identifiers are variable byte integers, but all of them fit into one byte.
	if id >= propCount || propRules[id].kind == kindNone {
		it.err = malformed("§2.2.2.2", "unknown property in "+it.where())
		return false
	}
	r := &propRules[id]
	if r.in&(1<<it.at) == 0 {
		it.err = malformed("§2.2.2.2", r.name+" in "+it.where())
		return false
	}
	if !it.count(id) {
		return false
	}
	*p = property{id: id}
	n := it.value(r, it.rest[1:], p)
	if it.err != nil {
		return false
	}
	if r.zero != Success && p.num == 0 {
		it.err = &Error{Reason: r.zero, Rule: r.zeroRule, Detail: r.name + " is 0"}
		return false
	}
	p.raw, it.rest = it.rest[:1+n], it.rest[1+n:]
	return true
}

// count refuses a property given twice and a user property too many.
func (it *propIter) count(id byte) bool {
	if id == propUserProperty {
		if it.users--; it.users < 0 {
			it.err = &Error{Reason: QuotaExceeded, Detail: "too many user properties in " + it.where()}
			return false
		}
		return true
	}
	if it.seen&(1<<id) != 0 && id != it.many {
		it.err = protocolError("§2.2.2.2", propRules[id].name+" twice in "+it.where())
		return false
	}
	it.seen |= 1 << id
	return true
}

// value reads the value at the front of b and answers how many bytes it took.
func (it *propIter) value(r *propRule, b []byte, p *property) int {
	switch r.kind {
	case kindBool:
		if len(b) < 1 {
			break
		}
		if b[0] > 1 {
			it.err = protocolError("§2.2.2.2", r.name+" is neither 0 nor 1")
			return 0
		}
		p.num = uint32(b[0])
		return 1
	case kindUint16:
		if len(b) < 2 {
			break
		}
		p.num = uint32(binary.BigEndian.Uint16(b))
		return 2
	case kindUint32:
		if len(b) < 4 {
			break
		}
		p.num = binary.BigEndian.Uint32(b)
		return 4
	case kindVarint:
		n, size, err := readVarint(b, true)
		if err != nil {
			it.err = err
			return 0
		}
		if size == 0 {
			break
		}
		p.num = n
		return size
	default:
		return it.bytes(r, b, p)
	}
	it.short(r)
	return 0
}

// bytes reads the kinds that carry their length.
func (it *propIter) bytes(r *propRule, b []byte, p *property) int {
	c := cursor{b: b, v: V5}
	switch r.kind {
	case kindBinary:
		p.value = c.binary(r.name)
	case kindText: // [MQTT-3.3.2-13] [MQTT-3.3.2-19]
		p.value = c.text(r.name)
	case kindPair: // both halves are strings [MQTT-1.5.7-1]
		p.name = c.text(r.name)
		p.value = c.text(r.name)
	}
	it.err = c.err
	return len(b) - len(c.b)
}

func (it *propIter) short(r *propRule) {
	it.err = malformed("", "properties end within "+r.name)
}

func (it *propIter) where() string {
	if it.at == inWill {
		return "the will"
	}
	return it.at.String()
}
