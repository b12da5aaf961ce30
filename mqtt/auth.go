package mqtt

// DecodeAuth decodes the body of an AUTH that came from a client.
func DecodeAuth(body []byte, _ Header, v Version, lim Limits, p *Auth) error {
	return decodeAuth(body, v, lim, p, &authFromClient)
}

// DecodeAuthClient decodes the body of an AUTH that came from a server.
func DecodeAuthClient(body []byte, _ Header, v Version, lim Limits, p *Auth) error {
	return decodeAuth(body, v, lim, p, &authFromServer)
}

func decodeAuth(body []byte, v Version, lim Limits, p *Auth, set *codeSet) error {
	*p = Auth{}
	if v != V5 {
		return malformed("", "AUTH before 5.0")
	}
	c := cursor{b: body, v: v}
	if len(c.b) > 0 { // an empty body is Success and nothing else
		p.Reason = ReasonCode(c.byte("reason code"))
	}
	if !set.has(p.Reason) {
		return protocolError("MQTT-3.15.2-1", "reason code not for AUTH from this side")
	}
	if len(body) == 0 {
		return nil
	}
	method := false
	it := newPropIter(c.section(), AUTH, lim.allowance())
	var x property
	for it.next(&x) {
		switch x.id {
		case propAuthMethod:
			p.Method, method = string(x.value), true
		case propAuthData:
			p.Data = own(x.value)
		case propReasonString:
			p.ReasonString = string(x.value)
		case propUserProperty:
			p.UserProperties = lim.keep(p.UserProperties, &x)
		}
	}
	if it.err != nil {
		c.fail(it.err)
	}
	if c.err == nil && !method {
		return protocolError("§3.15.2.2.2", "AUTH without Authentication Method")
	}
	return c.end()
}

// Append appends the packet, which exists in 5.0 only. Reason String and User
// Properties are left out when the packet would pass max bytes [MQTT-3.15.2-2]
// [MQTT-3.15.2-3]; max 0 is no limit. A Success with nothing to say is empty.
// A failure is said by CONNACK or DISCONNECT: asking AUTH to is our own mistake.
func (p *Auth) Append(dst []byte, v Version, max uint32) []byte {
	if v != V5 {
		panic("BUG: mqtt: AUTH needs MQTT 5.0")
	}
	e := newEncoder(dst)
	reason := p.Reason
	if !authFromServer.has(reason) && !authFromClient.has(reason) {
		// No stand-in here: AUTH knows no failure, and success would be a lie.
		panic("BUG: mqtt: AUTH cannot carry " + reason.String())
	}
	e.byte(byte(reason))
	e.openProps()
	e.propText(propAuthMethod, p.Method)
	if p.Data != nil {
		e.propBinary(propAuthData, p.Data)
	}
	e.extras(p.ReasonString, p.UserProperties, max, 0)
	if reason == Success && p.Method == "" && e.propsLen() == 3 { // the empty method alone
		e.b = e.b[:e.start+headerMax]
		return e.finish(AUTH, 0)
	}
	e.closeProps()
	return e.finish(AUTH, 0)
}
