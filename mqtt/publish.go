package mqtt

// DecodePublish decodes the body of a PUBLISH that came from a client. It
// allocates nothing unless it fails; p's slices alias body.
//
// It does not know the alias maximum nor which aliases are set: an empty topic
// comes with HasTopicAlias, and the caller resolves it before it looks at the
// topic.
func DecodePublish(body []byte, h Header, v Version, lim Limits, p *Publish) error {
	return decodePublish(body, h, v, lim, p, false)
}

// DecodePublishClient decodes the body of a PUBLISH that came from a server,
// which may name subscription identifiers.
func DecodePublishClient(body []byte, h Header, v Version, lim Limits, p *Publish) error {
	return decodePublish(body, h, v, lim, p, true)
}

func decodePublish(body []byte, h Header, v Version, lim Limits, p *Publish, client bool) error {
	*p = Publish{QoS: h.QoS(), Dup: h.Dup(), Retain: h.Retain(), SubscriptionIDs: p.SubscriptionIDs[:0]}
	c := cursor{b: body, v: v}
	p.Topic = c.binary("topic name") // the first field [MQTT-3.3.2-1]
	if c.err == nil {
		if e := checkName(p.Topic, v); e != nil {
			c.fail(e)
		}
	}
	if p.QoS > 0 { // at QoS 0 there is none [MQTT-2.2.1-2]
		p.PacketID = c.packetID()
	}
	if v == V5 {
		p.Props = c.section()
	}
	if c.err != nil {
		return c.err
	}
	p.Payload = c.b // the rest, be it empty
	if v == V5 {
		if e := p.readProps(lim, client); e != nil {
			return e
		}
	}
	if len(p.Topic) == 0 && !p.HasTopicAlias {
		return protocolError(pick(v, "§3.3.2.1", "MQTT-4.7.3-1"), "empty topic name") // A013
	}
	return nil
}

// readProps validates the property section and takes out of it what the receiver
// acts upon.
func (p *Publish) readProps(lim Limits, client bool) *Error {
	it := newPropIter(p.Props, PUBLISH, lim.allowance())
	if client {
		it.many = propSubscriptionID
	}
	var x property
	for it.next(&x) {
		switch x.id {
		case propMessageExpiry:
			p.MessageExpiry, p.HasMessageExpiry = x.num, true
		case propTopicAlias:
			p.TopicAlias, p.HasTopicAlias = uint16(x.num), true
		case propResponseTopic:
			if e := checkResponseTopic(x.value); e != nil {
				return e
			}
			p.ResponseTopic = x.value
		case propSubscriptionID:
			if !client {
				return protocolError("MQTT-3.3.4-6", "Subscription Identifier from a client")
			}
			p.SubscriptionIDs = append(p.SubscriptionIDs, x.num)
		}
	}
	return it.err
}

// checkName judges a topic name in one pass when it is ASCII, as most are.
func checkName(s []byte, v Version) *Error {
	ascii := true
	for _, b := range s {
		if b >= 0x80 {
			ascii = false
		} else if b == '+' || b == '#' {
			return &Error{Reason: TopicNameInvalid, Rule: "MQTT-3.3.2-2", Detail: "wildcard in a topic name"}
		} else if b == 0 {
			return checkText(s, v, "topic name")
		}
	}
	if ascii {
		return nil
	}
	return checkText(s, v, "topic name")
}

// checkResponseTopic holds a Response Topic to the rules of topic names.
func checkResponseTopic(s []byte) *Error {
	if hasWildcard(s) {
		return protocolError("MQTT-3.3.2-14", "wildcard in Response Topic")
	}
	if len(s) == 0 {
		return protocolError("MQTT-4.7.3-1", "empty Response Topic")
	}
	return nil
}

// Append appends the packet. Message Expiry, Topic Alias and Subscription
// Identifiers are written from their fields and not from Props, where decoding
// left them too. Before 5.0 there are no properties.
func (p *Publish) Append(dst []byte, v Version) []byte {
	e := newEncoder(dst)
	e.binary(p.Topic)
	if p.QoS > 0 {
		e.uint16(p.PacketID)
	}
	if v == V5 {
		e.openProps()
		if p.HasMessageExpiry {
			e.propUint32(propMessageExpiry, p.MessageExpiry)
		}
		if p.HasTopicAlias {
			e.propUint16(propTopicAlias, p.TopicAlias)
		}
		for _, id := range p.SubscriptionIDs {
			e.b = appendVarint(append(e.b, propSubscriptionID), int(id))
		}
		e.b = appendForwardable(e.b, p.Props)
		e.closeProps()
	}
	e.b = append(e.b, p.Payload...)
	return e.finish(PUBLISH, publishFlags(p.QoS, p.Dup, p.Retain))
}

// publishFlags are the flags of a PUBLISH. DUP has no meaning at QoS 0
// [MQTT-3.3.1-2].
func publishFlags(q QoS, dup, retain bool) byte {
	f := byte(q&3) << 1
	if dup && q > 0 {
		f |= 8
	}
	if retain {
		f |= 1
	}
	return f
}
