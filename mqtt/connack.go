package mqtt

// DecodeConnack decodes the body of a CONNACK. Return codes of 3.1 and 3.1.1 come
// as the reason codes that mean the same.
func DecodeConnack(body []byte, _ Header, v Version, lim Limits, p *Connack) error {
	*p = Connack{}
	c := cursor{b: body, v: v}
	flags, code := c.byte("acknowledge flags"), c.byte("reason code")
	if c.err != nil {
		return c.err
	}
	if v == V31 {
		flags = 0 // an unused byte then
	}
	if flags > 1 {
		return malformed("MQTT-3.2.2-1", "reserved acknowledge flags")
	}
	p.SessionPresent = flags == 1
	if v != V5 {
		var ok bool
		if p.Reason, ok = reasonFromConnackV3(code); !ok {
			return protocolError("§3.2.2.3", "reserved return code")
		}
	} else if p.Reason = ReasonCode(code); !connackCodes.has(p.Reason) {
		return protocolError("MQTT-3.2.2-8", "reason code not for CONNACK")
	}
	if p.SessionPresent && p.Reason != Success {
		return protocolError(pick(v, "MQTT-3.2.2-6", "MQTT-3.2.2-4"), "session present although refused")
	}
	if v == V5 {
		if e := p.readProps(c.section(), lim); e != nil {
			c.fail(e)
		}
	}
	return c.end()
}

func (p *Connack) readProps(section []byte, lim Limits) *Error {
	it := newPropIter(section, CONNACK, lim.allowance())
	var x property
	for it.next(&x) {
		switch x.id {
		case propSessionExpiry:
			p.SessionExpiry = new(x.num)
		case propReceiveMaximum:
			p.ReceiveMaximum = uint16(x.num)
		case propMaximumQoS:
			p.MaximumQoS = new(QoS(x.num))
		case propRetainAvailable:
			p.RetainAvailable = new(x.flag())
		case propMaximumPacketSize:
			p.MaximumPacketSize = x.num
		case propAssignedClientID:
			p.AssignedClientID = string(x.value)
		case propTopicAliasMaximum:
			p.TopicAliasMaximum = uint16(x.num)
		case propReasonString:
			p.ReasonString = string(x.value)
		case propUserProperty:
			p.UserProperties = append(p.UserProperties, x.user())
		case propWildcardAvailable:
			p.WildcardAvailable = new(x.flag())
		case propSubscriptionIDAvailable:
			p.SubscriptionIDsAvailable = new(x.flag())
		case propSharedAvailable:
			p.SharedAvailable = new(x.flag())
		case propServerKeepAlive:
			p.ServerKeepAlive = new(uint16(x.num))
		case propResponseInformation:
			p.ResponseInformation = string(x.value)
		case propServerReference:
			p.ServerReference = string(x.value)
		case propAuthMethod:
			p.AuthMethod = string(x.value)
		case propAuthData:
			p.AuthData = own(x.value)
		}
	}
	return it.err
}

// Append appends the packet. In 3.1 and 3.1.1 the reason becomes the return code
// of ConnackV3. Reason String and User Properties are left out when the packet
// would pass max bytes; max 0 is no limit. A refusal never says that a session is
// present [MQTT-3.2.2-6].
func (p *Connack) Append(dst []byte, v Version, max uint32) []byte {
	e := newEncoder(dst)
	if p.SessionPresent && p.Reason == Success && v != V31 {
		e.byte(1)
	} else {
		e.byte(0)
	}
	if v != V5 {
		e.byte(ConnackV3(p.Reason))
		return e.finish(CONNACK, 0)
	}
	e.byte(byte(writable(p.Reason, &connackCodes)))
	e.openProps()
	p.appendLimits(&e)
	if p.AssignedClientID != "" {
		e.propText(propAssignedClientID, p.AssignedClientID)
	}
	if p.ResponseInformation != "" {
		e.propText(propResponseInformation, p.ResponseInformation)
	}
	if p.ServerReference != "" {
		e.propText(propServerReference, p.ServerReference)
	}
	if p.AuthMethod != "" {
		e.propText(propAuthMethod, p.AuthMethod)
	}
	if p.AuthData != nil {
		e.propBinary(propAuthData, p.AuthData)
	}
	e.extras(p.ReasonString, p.UserProperties, max, 0)
	e.closeProps()
	return e.finish(CONNACK, 0)
}

// appendLimits writes what the server tells the client about itself.
func (p *Connack) appendLimits(e *encoder) {
	if p.SessionExpiry != nil {
		e.propUint32(propSessionExpiry, *p.SessionExpiry)
	}
	if p.ReceiveMaximum != 0 {
		e.propUint16(propReceiveMaximum, p.ReceiveMaximum)
	}
	if p.MaximumQoS != nil && *p.MaximumQoS < 2 { // 2 is a protocol error [MQTT-3.2.2-9]
		e.propByte(propMaximumQoS, byte(*p.MaximumQoS))
	}
	if p.MaximumPacketSize != 0 {
		e.propUint32(propMaximumPacketSize, p.MaximumPacketSize)
	}
	if p.TopicAliasMaximum != 0 {
		e.propUint16(propTopicAliasMaximum, p.TopicAliasMaximum)
	}
	if p.ServerKeepAlive != nil {
		e.propUint16(propServerKeepAlive, *p.ServerKeepAlive)
	}
	for _, a := range [...]struct {
		id byte
		on *bool
	}{
		{propRetainAvailable, p.RetainAvailable},
		{propWildcardAvailable, p.WildcardAvailable},
		{propSubscriptionIDAvailable, p.SubscriptionIDsAvailable},
		{propSharedAvailable, p.SharedAvailable},
	} {
		if a.on != nil {
			e.propBool(a.id, *a.on)
		}
	}
}
