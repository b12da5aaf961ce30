package mqtt

// ackRules are the reason codes and their statement for each acknowledgement.
func ackRules(t Type) (set *codeSet, rule string) {
	switch t {
	case PUBACK:
		return &receivedCodes, "MQTT-3.4.2-1"
	case PUBREC:
		return &receivedCodes, "MQTT-3.5.2-1"
	case PUBREL:
		return &releasedCodes, "MQTT-3.6.2-1"
	case PUBCOMP:
		return &releasedCodes, "MQTT-3.7.2-1"
	}
	return nil, ""
}

// DecodeAck decodes the body of a PUBACK, PUBREC, PUBREL or PUBCOMP. In 5.0 the
// reason may be left out when it is Success, and the properties when there are
// none.
func DecodeAck(body []byte, h Header, v Version, lim Limits, p *Ack) error {
	*p = Ack{Type: h.Type}
	set, rule := ackRules(h.Type)
	if set == nil {
		return protocolError("", h.Type.String()+" is not an acknowledgement of PUBLISH")
	}
	c := cursor{b: body, v: v}
	p.PacketID = c.packetID()
	if v != V5 || len(c.b) == 0 {
		return c.end()
	}
	p.Reason = ReasonCode(c.byte("reason code"))
	if !set.has(p.Reason) {
		return protocolError(rule, "reason code not for "+h.Type.String())
	}
	if len(c.b) > 0 {
		p.ReasonString, p.UserProperties = c.extras(h.Type, lim)
	}
	return c.end()
}

// Append appends the packet. Before 5.0 it carries the identifier only; a refusal
// cannot be said then. In 5.0 a bare success is as short. Reason String and User
// Properties are left out when the packet would pass max bytes [MQTT-3.4.2-2]
// [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3]
// [MQTT-3.7.2-2] [MQTT-3.7.2-3]; max 0 is no limit.
func (p *Ack) Append(dst []byte, v Version, max uint32) []byte {
	set, _ := ackRules(p.Type)
	if set == nil {
		panic("BUG: mqtt: Ack of type " + p.Type.String())
	}
	e := newEncoder(dst)
	e.uint16(p.PacketID)
	if v == V5 {
		reason := writable(p.Reason, set)
		e.byte(byte(reason))
		e.tail(p.ReasonString, p.UserProperties, max)
		if bare := e.props == len(e.b); bare && reason == Success {
			e.b = e.b[:len(e.b)-1]
		}
	}
	flags := byte(0)
	if p.Type == PUBREL {
		flags = 2 // [MQTT-3.6.1-1]
	}
	return e.finish(p.Type, flags)
}

// tail ends a packet with Reason String and User Properties, or with nothing at
// all when there are none.
func (e *encoder) tail(reason string, users []UserProperty, max uint32) {
	e.openProps()
	e.extras(reason, users, max, 0)
	if e.propsLen() == 0 {
		e.dropProps()
		return
	}
	e.closeProps()
}
