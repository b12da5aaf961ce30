// Package mqtt is the wire format of MQTT 3.1, 3.1.1 and 5.0, in both
// directions: bytes to packets and packets to bytes, properties, reason codes,
// and the Frame in which one application message travels to many subscribers.
//
// It is not a broker and keeps no state between packets: it knows no session, no
// topic tree, no policy and no socket. What it decides, it decides from the bytes
// of one packet: a Topic Alias above the receiver's maximum, a packet identifier
// in use or a filter with a misplaced wildcard are other rooms' business.
//
// Decoding is strict. A packet that breaks a normative statement is refused with
// an *Error which names the statement; nothing is repaired. Where the standards
// leave a choice, it is made here, once:
//
//   - Control characters and Unicode non-characters in strings pass unchanged.
//     The standards advise senders against them and let receivers refuse them;
//     refusing would cut off devices that other brokers serve (A021).
//   - A variable byte integer longer than it needs to be is refused in 5.0
//     [MQTT-1.5.5-1]. 3.1 and 3.1.1 have no such rule, so their remaining length
//     may be padded, up to the four bytes that all versions allow. In CONNECT the
//     version is not known yet when its length is read: there padding passes too.
//   - The level byte of a bridge (bit 7 set) is an unknown level.
//
// Decoding never allocates by an announced length, only by bytes that are there,
// and takes time linear in the packet.
//
// Rules: MQTT 5.0 chapters 1 to 3 (OASIS, 2019), MQTT 3.1.1 chapters 1 to 3
// (OASIS, 2014), MQTT 3.1 (IBM and Eurotech, 2010). Statement ids in an Error are
// those of the version the packet was read as; 3.1 borrows those of 3.1.1.
package mqtt

// Version is a protocol level as CONNECT carries it. The zero Version means that
// no CONNECT has been read yet.
type Version byte

// The protocol levels this package speaks.
const (
	V31  Version = 3
	V311 Version = 4
	V5   Version = 5
)

// String is the name of the standard: "3.1", "3.1.1", "5.0".
func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	case V5:
		return "5.0"
	}
	return "unknown"
}

// Type is the kind of a control packet.
type Type byte

// The control packets. AUTH exists in 5.0 only.
const (
	CONNECT Type = iota + 1
	CONNACK
	PUBLISH
	PUBACK
	PUBREC
	PUBREL
	PUBCOMP
	SUBSCRIBE
	SUBACK
	UNSUBSCRIBE
	UNSUBACK
	PINGREQ
	PINGRESP
	DISCONNECT
	AUTH
)

var typeNames = [16]string{
	"reserved", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// String is the name the standards use, in capitals.
func (t Type) String() string { return typeNames[t&15] }

// QoS is a quality of service level: 0, 1 or 2.
type QoS byte

// Sizes that the wire format itself sets.
const (
	// StringMax is the longest string or binary field, in bytes: its length has 16
	// bits. The encoders never wrap a longer one (A026): they panic, because only
	// our own code can have made it.
	StringMax = 65535
	// RemainingMax is the largest remaining length, in bytes.
	RemainingMax = 268435455
	// SubscriptionIDMax is the largest Subscription Identifier.
	SubscriptionIDMax = 268435455
	// headerMax is the longest fixed header: type, flags and four length bytes.
	headerMax = 5
)

// UserProperty is one name and value pair. Names may repeat, and order counts
// [MQTT-3.3.2-18].
type UserProperty struct{ Name, Value string }

// Limits bound what one packet may make us keep. They are the receiver's own and
// stricter than the protocol; going over is answered with QuotaExceeded.
type Limits struct {
	// UserProperties is how many user properties one packet may hold, those of
	// the will counted with those of its CONNECT. 0 allows none, a negative number
	// any (A019).
	UserProperties int
	// Filters is how many filters one SUBSCRIBE or UNSUBSCRIBE may hold. 0 leaves
	// it to the packet size.
	Filters int
	// SkipUsers is for who reads no user properties: they are checked and counted, and not
	// copied. CONNECT has them all the same.
	SkipUsers bool
}

// Error is a failure the peer should hear about: it broke the protocol or a
// limit.
type Error struct {
	Reason ReasonCode // goes on the wire
	Rule   string     // normative statement; stays in our log
	Detail string     // for our log; never payload, never a credential
}

// Error reads as one line for a log.
func (e *Error) Error() string {
	s := "mqtt: " + e.Reason.String()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Rule != "" {
		s += " [" + e.Rule + "]"
	}
	return s
}

func malformed(rule, detail string) *Error {
	return &Error{Reason: MalformedPacket, Rule: rule, Detail: detail}
}

func protocolError(rule, detail string) *Error {
	return &Error{Reason: ProtocolError, Rule: rule, Detail: detail}
}

// pick chooses the statement of the version the packet was read as.
func pick(v Version, five, three string) string {
	if v == V5 {
		return five
	}
	return three
}
