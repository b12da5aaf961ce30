package mqtt

import "strings"

// Subscription options of 5.0. In older versions all but the QoS are reserved.
const (
	optQoS      = 3 << 0
	optNoLocal  = 1 << 2
	optRetainAs = 1 << 3
	optHandling = 3 << 4
	optReserved = 3 << 6
)

// DecodeSubscribe decodes the body of a SUBSCRIBE. Filters are checked as strings;
// whether their wildcards and their share name make sense is package topic's.
func DecodeSubscribe(body []byte, _ Header, v Version, lim Limits, p *Subscribe) error {
	*p = Subscribe{}
	c := cursor{b: body, v: v}
	p.PacketID = c.packetID()
	if v == V5 {
		it := newPropIter(c.section(), SUBSCRIBE, lim.allowance())
		var x property
		for it.next(&x) {
			switch x.id {
			case propSubscriptionID:
				p.SubscriptionID = x.num
			case propUserProperty:
				p.UserProperties = lim.keep(p.UserProperties, &x)
			}
		}
		if it.err != nil {
			c.fail(it.err)
		}
	}
	if n := c.filters(1); n > 0 && !lim.filled(n-1) {
		p.Filters = make([]Subscription, 0, n)
	}
	for c.err == nil && len(c.b) > 0 {
		if lim.filled(len(p.Filters)) {
			return tooManyFilters(SUBSCRIBE)
		}
		filter := c.filter()
		options := c.byte("subscription options")
		if c.err != nil {
			break
		}
		s, e := readOptions(filter, options, v)
		if e != nil {
			return e
		}
		p.Filters = append(p.Filters, s)
	}
	if c.err == nil && len(p.Filters) == 0 {
		return protocolError(pick(v, "MQTT-3.8.3-2", "MQTT-3.8.3-3"), "SUBSCRIBE without a filter")
	}
	return c.end()
}

// filter reads a topic filter of at least one character [MQTT-3.8.3-1], as a copy.
func (c *cursor) filter() string {
	f := c.text("topic filter")
	if c.err == nil && len(f) == 0 {
		c.fail(&Error{Reason: TopicFilterInvalid, Rule: "MQTT-4.7.3-1", Detail: "empty topic filter"})
	}
	return string(f)
}

// filters counts those that are to come, each with so many bytes behind it: for the room that they take. What is
// malformed is found when they are read.
func (c *cursor) filters(behind int) (n int) {
	if c.err != nil {
		return 0
	}
	for b := c.b; len(b) > 2; n++ {
		next := 2 + int(b[0])<<8 + int(b[1]) + behind
		if next > len(b) {
			return n
		}
		b = b[next:]
	}
	return n
}

func (l Limits) filled(filters int) bool { return l.Filters > 0 && filters >= l.Filters }

func tooManyFilters(t Type) *Error {
	return &Error{Reason: QuotaExceeded, Detail: "too many filters in " + t.String()}
}

func readOptions(filter string, o byte, v Version) (Subscription, *Error) {
	if v != V5 {
		if o > 2 { // reserved bits, or QoS 3
			return Subscription{}, malformed("MQTT-3.8.3-4", "requested QoS is not 0, 1 or 2")
		}
		return Subscription{Filter: filter, QoS: QoS(o)}, nil
	}
	s := Subscription{
		Filter:            filter,
		QoS:               QoS(o & optQoS),
		NoLocal:           o&optNoLocal != 0,
		RetainAsPublished: o&optRetainAs != 0,
		RetainHandling:    o & optHandling >> 4,
	}
	switch {
	case o&optReserved != 0:
		return s, malformed("MQTT-3.8.3-5", "reserved subscription options")
	case s.QoS == 3:
		return s, protocolError("§3.8.3.1", "Maximum QoS 3 in subscription options")
	case s.RetainHandling == 3:
		return s, protocolError("§3.8.3.1", "Retain Handling 3")
	case s.NoLocal && strings.HasPrefix(filter, "$share/"):
		return s, protocolError("MQTT-3.8.3-4", "No Local on a shared subscription")
	}
	return s, nil
}

// Append appends the packet. User properties are left out when the packet would
// pass max bytes; max 0 is no limit.
func (p *Subscribe) Append(dst []byte, v Version, max uint32) []byte {
	e := newEncoder(dst)
	e.uint16(p.PacketID)
	if v == V5 {
		e.openProps()
		if p.SubscriptionID != 0 {
			e.b = appendVarint(append(e.b, propSubscriptionID), int(p.SubscriptionID))
		}
		after := 0
		for i := range p.Filters {
			after += 3 + len(p.Filters[i].Filter)
		}
		e.extras("", p.UserProperties, max, after)
		e.closeProps()
	}
	for i := range p.Filters {
		e.text(p.Filters[i].Filter)
		e.byte(p.Filters[i].options(v))
	}
	return e.finish(SUBSCRIBE, 2)
}

func (s *Subscription) options(v Version) byte {
	o := byte(s.QoS) & optQoS
	if v != V5 {
		return o
	}
	if s.NoLocal {
		o |= optNoLocal
	}
	if s.RetainAsPublished {
		o |= optRetainAs
	}
	return o | s.RetainHandling<<4&optHandling
}
