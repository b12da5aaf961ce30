package mqtt

// DecodeDisconnect decodes the body of a DISCONNECT that came from a client.
func DecodeDisconnect(body []byte, _ Header, v Version, lim Limits, p *Disconnect) error {
	return decodeDisconnect(body, v, lim, p, &disconnectFromClient, propServerReference)
}

// DecodeDisconnectClient decodes the body of a DISCONNECT that came from a server.
func DecodeDisconnectClient(body []byte, _ Header, v Version, lim Limits, p *Disconnect) error {
	if v != V5 {
		*p = Disconnect{}
		return protocolError("§3.14", "DISCONNECT from a server before 5.0")
	}
	return decodeDisconnect(body, v, lim, p, &disconnectFromServer, propSessionExpiry)
}

// decodeDisconnect takes the codes this side may send, and the property that only
// the other side may.
func decodeDisconnect(body []byte, v Version, lim Limits, p *Disconnect, set *codeSet, notHere byte) error {
	*p = Disconnect{}
	c := cursor{b: body, v: v}
	if v != V5 || len(c.b) == 0 {
		return c.end()
	}
	p.Reason = ReasonCode(c.byte("reason code"))
	if !set.has(p.Reason) {
		return protocolError("MQTT-3.14.2-1", "reason code not for DISCONNECT from this side")
	}
	if len(c.b) == 0 {
		return nil
	}
	it := newPropIter(c.section(), DISCONNECT, lim.allowance())
	var x property
	for it.next(&x) {
		if x.id == notHere {
			rule := "§3.14.2.2.5"
			if notHere == propSessionExpiry {
				rule = "MQTT-3.14.2-2"
			}
			return protocolError(rule, propRules[notHere].name+" in DISCONNECT from this side")
		}
		switch x.id {
		case propSessionExpiry:
			p.SessionExpiry = new(x.num)
		case propServerReference:
			p.ServerReference = string(x.value)
		case propReasonString:
			p.ReasonString = string(x.value)
		case propUserProperty:
			p.UserProperties = lim.keep(p.UserProperties, &x)
		}
	}
	if it.err != nil {
		c.fail(it.err)
	}
	return c.end()
}

// Append appends the packet. Before 5.0 it is empty, and a server has no use for
// it. Reason String and User Properties are left out when the packet would pass
// max bytes [MQTT-3.14.2-3] [MQTT-3.14.2-4]; max 0 is no limit.
func (p *Disconnect) Append(dst []byte, v Version, max uint32) []byte {
	e := newEncoder(dst)
	if v != V5 {
		return e.finish(DISCONNECT, 0)
	}
	reason := writable(p.Reason, &disconnectFromServer, &disconnectFromClient)
	e.byte(byte(reason))
	e.openProps()
	if p.SessionExpiry != nil {
		e.propUint32(propSessionExpiry, *p.SessionExpiry)
	}
	if p.ServerReference != "" {
		e.propText(propServerReference, p.ServerReference)
	}
	e.extras(p.ReasonString, p.UserProperties, max, 0)
	if e.propsLen() > 0 {
		e.closeProps()
		return e.finish(DISCONNECT, 0)
	}
	e.dropProps()
	if reason == Success {
		e.b = e.b[:len(e.b)-1]
	}
	return e.finish(DISCONNECT, 0)
}
