package mqtt

// DecodeSuback decodes the body of a SUBACK. The return codes of 3.1.1 are reason
// codes already; 3.1 has no failure code, but servers send it and it is read.
func DecodeSuback(body []byte, _ Header, v Version, lim Limits, p *Suback) error {
	*p = Suback{}
	c := cursor{b: body, v: v}
	p.PacketID = c.packetID()
	if v == V5 {
		p.ReasonString, p.UserProperties = c.extras(SUBACK, lim)
	}
	if c.err != nil {
		return c.err
	}
	for _, b := range c.b {
		r := ReasonCode(b)
		if !subackCodes.has(r) || (v != V5 && r > GrantedQoS2 && r != UnspecifiedError) {
			return protocolError("MQTT-3.9.3-2", "reason code not for SUBACK")
		}
	}
	if p.Reasons = c.reasons(); p.Reasons == nil {
		return malformed("MQTT-3.8.4-6", "SUBACK without a reason code")
	}
	return nil
}

// DecodeUnsuback decodes the body of an UNSUBACK.
func DecodeUnsuback(body []byte, _ Header, v Version, lim Limits, p *Unsuback) error {
	*p = Unsuback{}
	c := cursor{b: body, v: v}
	p.PacketID = c.packetID()
	if v != V5 {
		return c.end()
	}
	p.ReasonString, p.UserProperties = c.extras(UNSUBACK, lim)
	if c.err != nil {
		return c.err
	}
	for _, b := range c.b {
		if !unsubackCodes.has(ReasonCode(b)) {
			return protocolError("MQTT-3.11.3-2", "reason code not for UNSUBACK")
		}
	}
	if p.Reasons = c.reasons(); p.Reasons == nil {
		return malformed("MQTT-3.11.3-1", "UNSUBACK without a reason code")
	}
	return nil
}

// extras reads a property section that holds Reason String and User Properties
// and nothing else.
func (c *cursor) extras(at place, lim Limits) (reason string, users []UserProperty) {
	it := newPropIter(c.section(), at, lim.allowance())
	var x property
	for it.next(&x) {
		if x.id == propReasonString {
			reason = string(x.value)
		} else {
			users = append(users, x.user())
		}
	}
	if it.err != nil {
		c.fail(it.err)
	}
	return reason, users
}

// reasons copies what is left as reason codes.
func (c *cursor) reasons() []ReasonCode {
	var rs []ReasonCode
	for _, b := range c.b {
		rs = append(rs, ReasonCode(b))
	}
	return rs
}

// Append appends the packet. Before 5.0 every failure is 0x80 [MQTT-3.9.3-2].
// Reason String and User Properties are left out when the packet would pass max
// bytes [MQTT-3.9.2-1] [MQTT-3.9.2-2]; max 0 is no limit.
func (p *Suback) Append(dst []byte, v Version, max uint32) []byte {
	e := newEncoder(dst)
	e.uint16(p.PacketID)
	if v == V5 {
		e.openProps()
		e.extras(p.ReasonString, p.UserProperties, max, len(p.Reasons))
		e.closeProps()
	}
	for _, r := range p.Reasons {
		r = writable(r, &subackCodes)
		if v != V5 && r.Failed() {
			r = UnspecifiedError
		}
		e.byte(byte(r))
	}
	return e.finish(SUBACK, 0)
}

// Append appends the packet. Before 5.0 it carries no reasons. Reason String and
// User Properties are left out when the packet would pass max bytes
// [MQTT-3.11.2-1] [MQTT-3.11.2-2]; max 0 is no limit.
func (p *Unsuback) Append(dst []byte, v Version, max uint32) []byte {
	e := newEncoder(dst)
	e.uint16(p.PacketID)
	if v == V5 {
		e.openProps()
		e.extras(p.ReasonString, p.UserProperties, max, len(p.Reasons))
		e.closeProps()
		for _, r := range p.Reasons {
			e.byte(byte(writable(r, &unsubackCodes)))
		}
	}
	return e.finish(UNSUBACK, 0)
}
