package mqtt

// Connect flags.
const (
	connReserved   = 1 << 0
	connCleanStart = 1 << 1
	connWill       = 1 << 2
	connWillQoS    = 3 << 3
	connWillRetain = 1 << 5
	connPassword   = 1 << 6
	connUsername   = 1 << 7
)

// DecodeConnect decodes the body of a CONNECT of any version. p.Version is set as
// soon as it is known, also when an error is returned, so that the caller knows
// which CONNACK the peer would understand:
//
//   - a protocol name that is not MQTT's leaves it 0 [MQTT-3.1.2-1]: an answer, if
//     any, is in the layout that every version reads;
//   - an unknown level is UnsupportedProtocolVersion, with Version V5 for levels
//     above ours (CONNACK 0x84) and V311 for the others (return code 1)
//     [MQTT-3.1.2-2];
//   - ClientIdentifierNotValid for an empty client identifier that the version does
//     not allow (return code 2).
//
// Nothing else in p is to be trusted after an error.
func DecodeConnect(body []byte, lim Limits, p *Connect) error {
	*p = Connect{ReceiveMaximum: 65535, RequestProblemInformation: true}
	c := cursor{b: body}
	if e := p.readProtocol(&c); e != nil {
		return e
	}
	c.v = p.Version
	flags := c.byte("connect flags")
	if c.err == nil {
		if e := checkConnectFlags(flags, p.Version); e != nil {
			return e
		}
	}
	p.CleanStart = flags&connCleanStart != 0
	p.KeepAlive = c.uint16("keep alive")
	users := lim.allowance()
	if p.Version == V5 {
		if e := p.readProps(c.section(), &users); e != nil {
			c.fail(e)
		}
	}
	// The payload, in the one order there is [MQTT-3.1.3-1] [MQTT-3.1.3-3].
	p.ClientID = string(c.text("client identifier")) // [MQTT-3.1.3-4]
	if flags&connWill != 0 {
		p.readWill(&c, flags, &users)
	}
	if p.HasUsername = flags&connUsername != 0; p.HasUsername { // [MQTT-3.1.2-16] [MQTT-3.1.2-17]
		p.Username = string(c.text("user name")) // [MQTT-3.1.3-12]
	}
	if p.HasPassword = flags&connPassword != 0; p.HasPassword { // [MQTT-3.1.2-18] [MQTT-3.1.2-19]
		p.Password = own(c.binary("password"))
	}
	if e := c.end(); e != nil {
		return e
	}
	return p.checkClientID()
}

// readProtocol reads the protocol's name and level, which must belong together.
func (p *Connect) readProtocol(c *cursor) *Error {
	name := string(c.binary("protocol name"))
	if c.err != nil {
		return c.err
	}
	known := name == "MQTT" || name == "MQIsdp"
	if !known {
		return &Error{Reason: UnsupportedProtocolVersion, Rule: "MQTT-3.1.2-1", Detail: "unknown protocol name"}
	}
	level := c.byte("protocol level")
	if c.err != nil {
		return c.err
	}
	switch {
	case name == "MQIsdp" && level == byte(V31):
		p.Version = V31
	case name == "MQTT" && level == byte(V311):
		p.Version = V311
	case name == "MQTT" && level == byte(V5):
		p.Version = V5
	default:
		// Bit 7 is how bridges mark a level, so it is left out when guessing what
		// the peer reads.
		if p.Version = V311; level&0x7f > byte(V5) {
			p.Version = V5
		}
		return &Error{Reason: UnsupportedProtocolVersion, Rule: "MQTT-3.1.2-2", Detail: "unknown protocol level"}
	}
	return nil
}

// checkConnectFlags refuses flags that contradict each other.
func checkConnectFlags(f byte, v Version) *Error {
	if f&connReserved != 0 {
		return malformed("MQTT-3.1.2-3", "reserved connect flag")
	}
	if f&connWill == 0 {
		if f&connWillQoS != 0 {
			return malformed(pick(v, "MQTT-3.1.2-11", "MQTT-3.1.2-13"), "Will QoS without Will Flag")
		}
		if f&connWillRetain != 0 {
			return malformed(pick(v, "MQTT-3.1.2-13", "MQTT-3.1.2-15"), "Will Retain without Will Flag")
		}
	} else if f&connWillQoS == connWillQoS {
		return malformed(pick(v, "MQTT-3.1.2-12", "MQTT-3.1.2-14"), "Will QoS 3")
	}
	if v != V5 && f&connPassword != 0 && f&connUsername == 0 {
		return malformed("MQTT-3.1.2-22", "password without user name") // [MQTT-3.1.2-22 of 3.1.1]
	}
	return nil
}

func (p *Connect) readProps(section []byte, users *int) *Error {
	it := newPropIter(section, CONNECT, *users)
	var x property
	for it.next(&x) {
		switch x.id {
		case propSessionExpiry:
			p.SessionExpiry = x.num
		case propReceiveMaximum:
			p.ReceiveMaximum = uint16(x.num)
		case propMaximumPacketSize:
			p.MaximumPacketSize = x.num
		case propTopicAliasMaximum:
			p.TopicAliasMaximum = uint16(x.num)
		case propRequestResponseInformation:
			p.RequestResponseInformation = x.flag()
		case propRequestProblemInformation:
			p.RequestProblemInformation = x.flag()
		case propUserProperty:
			p.UserProperties = append(p.UserProperties, x.user())
		case propAuthMethod:
			p.AuthMethod, p.HasAuthMethod = string(x.value), true
		case propAuthData:
			p.AuthData = own(x.value)
		}
	}
	*users = it.users
	if it.err == nil && p.AuthData != nil && !p.HasAuthMethod {
		return protocolError("§3.1.2.11.10", "Authentication Data without Authentication Method")
	}
	return it.err
}

// readWill reads what the Will Flag promises: properties in 5.0, topic, payload
// [MQTT-3.1.2-9].
func (p *Connect) readWill(c *cursor, flags byte, users *int) {
	w := &Will{QoS: QoS(flags & connWillQoS >> 3), Retain: flags&connWillRetain != 0}
	if c.v == V5 {
		if e := w.readProps(c.section(), users); e != nil {
			c.fail(e)
		}
	}
	topic := c.text("will topic") // [MQTT-3.1.3-11]
	if c.err == nil && len(topic) == 0 {
		c.fail(&Error{Reason: TopicNameInvalid, Rule: "MQTT-4.7.3-1", Detail: "empty will topic"})
	}
	if hasWildcard(topic) {
		c.fail(&Error{Reason: TopicNameInvalid, Rule: pick(c.v, "MQTT-4.7.0-1", "MQTT-4.7.1-1"), Detail: "wildcard in the will topic"})
	}
	w.Topic = string(topic)
	w.Payload = own(c.binary("will payload"))
	p.Will = w
}

func (w *Will) readProps(section []byte, users *int) *Error {
	it := newPropIter(section, inWill, *users)
	var x property
	for it.next(&x) {
		switch x.id {
		case propWillDelay:
			w.DelaySeconds = x.num
		case propMessageExpiry:
			w.MessageExpiry, w.HasMessageExpiry = x.num, true
		case propResponseTopic:
			if e := checkResponseTopic(x.value); e != nil {
				return e
			}
		}
	}
	*users = it.users
	if it.err != nil {
		return it.err
	}
	w.Props = appendForwardable(make([]byte, 0, len(section)), section) // in their order [MQTT-3.1.3-10]
	return nil
}

// checkClientID refuses an empty identifier where the version does: always in
// 3.1, and in 3.1.1 unless the session is a clean one [MQTT-3.1.3-8 of 3.1.1].
func (p *Connect) checkClientID() error {
	if p.ClientID != "" || p.Version == V5 || (p.Version == V311 && p.CleanStart) {
		return nil
	}
	return &Error{Reason: ClientIdentifierNotValid, Rule: "MQTT-3.1.3-8", Detail: "empty client identifier"}
}
