package mqtt

// DecodeUnsubscribe decodes the body of an UNSUBSCRIBE.
func DecodeUnsubscribe(body []byte, _ Header, v Version, lim Limits, p *Unsubscribe) error {
	*p = Unsubscribe{}
	c := cursor{b: body, v: v}
	p.PacketID = c.packetID()
	if v == V5 {
		it := newPropIter(c.section(), UNSUBSCRIBE, lim.allowance())
		var x property
		for it.next(&x) { // User Property is all there is
			p.UserProperties = lim.keep(p.UserProperties, &x)
		}
		if it.err != nil {
			c.fail(it.err)
		}
	}
	if n := c.filters(0); n > 0 && !lim.filled(n-1) {
		p.Filters = make([]string, 0, n)
	}
	for c.err == nil && len(c.b) > 0 {
		if lim.filled(len(p.Filters)) {
			return tooManyFilters(UNSUBSCRIBE)
		}
		p.Filters = append(p.Filters, c.filter()) // [MQTT-3.10.3-1]
	}
	if c.err == nil && len(p.Filters) == 0 {
		return protocolError("MQTT-3.10.3-2", "UNSUBSCRIBE without a filter")
	}
	return c.end()
}

// Append appends the packet. User properties are left out when the packet would
// pass max bytes; max 0 is no limit.
func (p *Unsubscribe) Append(dst []byte, v Version, max uint32) []byte {
	e := newEncoder(dst)
	e.uint16(p.PacketID)
	if v == V5 {
		after := 0
		for _, f := range p.Filters {
			after += 2 + len(f)
		}
		e.openProps()
		e.extras("", p.UserProperties, max, after)
		e.closeProps()
	}
	for _, f := range p.Filters {
		e.text(f)
	}
	return e.finish(UNSUBSCRIBE, 2)
}
