package mqtt

import "strconv"

// The packets as values. Decoders fill them, encoders write them. Publish aliases
// the bytes it was decoded from; all others own what they hold. A zero or nil
// optional field means that the property is absent.

// Publish is a PUBLISH packet. After decoding, its slices alias the packet's
// body: they are valid until the caller reuses that buffer.
type Publish struct {
	Topic   []byte // empty only in 5.0, with a Topic Alias
	Payload []byte
	// Props is the property section without its length, as received; nil in 3.1
	// and 3.1.1. Decoders have validated it. See PublishProperties.
	Props []byte
	// ResponseTopic is a view into Props. Append does not write it by itself.
	ResponseTopic []byte

	PacketID         uint16 // 0 at QoS 0
	TopicAlias       uint16
	HasTopicAlias    bool
	MessageExpiry    uint32 // seconds
	HasMessageExpiry bool
	SubscriptionIDs  []uint32 // only from a server to a client
	QoS              QoS
	Dup, Retain      bool

	Room *Frame // in whose memory the packet lies; nil: in that of a buffer. Decoders do not set it
}

// Connect is a CONNECT packet.
type Connect struct {
	Version     Version
	CleanStart  bool   // Clean Session in 3.1 and 3.1.1
	KeepAlive   uint16 // seconds; 0 turns it off
	ClientID    string
	Username    string
	HasUsername bool
	HasPassword bool
	Password    []byte
	Will        *Will // nil without a will

	// 5.0 only. Decoders set the protocol's defaults for older versions, except
	// for SessionExpiry: Clean Session has other words for it.
	SessionExpiry              uint32 // seconds; 0xFFFFFFFF never
	ReceiveMaximum             uint16 // 65535 if absent
	MaximumPacketSize          uint32 // bytes; 0: no limit
	TopicAliasMaximum          uint16
	RequestResponseInformation bool
	RequestProblemInformation  bool // true if absent
	UserProperties             []UserProperty
	AuthMethod                 string
	HasAuthMethod              bool
	AuthData                   []byte // nil: absent
}

// Will is the message a server publishes when the connection ends badly.
type Will struct {
	Topic   string
	Payload []byte
	// Props are the properties to publish it with, as a raw section: Will Delay
	// and Message Expiry are taken out into the fields below.
	Props            []byte
	QoS              QoS
	Retain           bool
	DelaySeconds     uint32
	MessageExpiry    uint32 // seconds
	HasMessageExpiry bool
}

// Connack is a CONNACK packet.
type Connack struct {
	SessionPresent           bool
	Reason                   ReasonCode
	SessionExpiry            *uint32 // seconds
	ReceiveMaximum           uint16
	MaximumQoS               *QoS // 0 or 1; 2 is said by leaving it out
	RetainAvailable          *bool
	WildcardAvailable        *bool
	SubscriptionIDsAvailable *bool
	SharedAvailable          *bool
	MaximumPacketSize        uint32 // bytes
	AssignedClientID         string
	ReasonString             string
	ResponseInformation      string
	ServerReference          string
	TopicAliasMaximum        uint16
	ServerKeepAlive          *uint16 // seconds
	UserProperties           []UserProperty
	AuthMethod               string
	AuthData                 []byte // nil: absent
}

// Subscribe is a SUBSCRIBE packet with at least one filter.
type Subscribe struct {
	PacketID       uint16
	SubscriptionID uint32 // 0: absent
	Filters        []Subscription
	UserProperties []UserProperty
}

// Subscription is one filter with its options. Before 5.0 only QoS exists. The
// filter is well-formed UTF-8 and not empty; its wildcards are package topic's.
type Subscription struct {
	Filter            string
	QoS               QoS
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte // 0, 1 or 2
}

// Suback is a SUBACK packet: one reason for each filter, in their order
// [MQTT-3.9.3-1].
type Suback struct {
	PacketID       uint16
	Reasons        []ReasonCode
	ReasonString   string
	UserProperties []UserProperty
}

// Unsubscribe is an UNSUBSCRIBE packet with at least one filter.
type Unsubscribe struct {
	PacketID       uint16
	Filters        []string
	UserProperties []UserProperty
}

// Unsuback is an UNSUBACK packet. Before 5.0 it carries no reasons.
type Unsuback struct {
	PacketID       uint16
	Reasons        []ReasonCode
	ReasonString   string
	UserProperties []UserProperty
}

// Ack is a PUBACK, PUBREC, PUBREL or PUBCOMP packet, as Type says.
type Ack struct {
	Type           Type
	PacketID       uint16
	Reason         ReasonCode // before 5.0 always Success
	ReasonString   string
	UserProperties []UserProperty
}

// Disconnect is a DISCONNECT packet. Before 5.0 it is empty, and only clients
// send it.
type Disconnect struct {
	Reason          ReasonCode
	SessionExpiry   *uint32 // seconds; only from a client [MQTT-3.14.2-2]
	ReasonString    string
	ServerReference string // only from a server
	UserProperties  []UserProperty
}

// Auth is an AUTH packet, of 5.0 only.
type Auth struct {
	Reason         ReasonCode
	Method         string
	Data           []byte // nil: absent
	ReasonString   string
	UserProperties []UserProperty
}

// String names the packet without its credentials, so that a stray %v in a log
// does not print them.
func (p Connect) String() string {
	return "CONNECT " + p.Version.String() + " from " + strconv.Quote(p.ClientID)
}

// GoString is String: %#v prints no credentials either.
func (p Connect) GoString() string { return p.String() }

// String names the packet without its authentication data.
func (p Auth) String() string { return "AUTH " + p.Reason.String() }

// GoString is String: %#v prints no authentication data either.
func (p Auth) GoString() string { return p.String() }
