package mqtt

import "encoding/binary"

// PublishProperties are the properties of a message that travel with it unchanged
// from publisher to subscriber. Package code on the hot path leaves them as raw
// sections; this is for people: clients, administration, tests. An absent string
// and an empty one look the same here, so it is not a way to forward a message.
type PublishProperties struct {
	HasPayloadFormat bool
	PayloadIsUTF8    bool // Payload Format Indicator 1
	ContentType      string
	ResponseTopic    string
	CorrelationData  []byte // nil: absent
	UserProperties   []UserProperty
}

// ParsePublishProperties reads a raw section, as Publish.Props and Frame.Props
// hold it. What belongs to one hop only (Message Expiry, Topic Alias,
// Subscription Identifier) is passed over. The error is an *Error.
func ParsePublishProperties(raw []byte) (PublishProperties, error) {
	var p PublishProperties
	it := newPropIter(raw, PUBLISH, Limits{UserProperties: -1}.allowance())
	it.many = propSubscriptionID
	var x property
	for it.next(&x) {
		switch x.id {
		case propPayloadFormat:
			p.HasPayloadFormat, p.PayloadIsUTF8 = true, x.flag()
		case propContentType:
			p.ContentType = string(x.value)
		case propResponseTopic:
			if e := checkResponseTopic(x.value); e != nil {
				return PublishProperties{}, e
			}
			p.ResponseTopic = string(x.value)
		case propCorrelationData:
			p.CorrelationData = own(x.value)
		case propUserProperty:
			p.UserProperties = append(p.UserProperties, x.user())
		}
	}
	if it.err != nil {
		return PublishProperties{}, it.err
	}
	return p, nil
}

// Append appends the properties as a raw section, without its length.
func (p *PublishProperties) Append(dst []byte) []byte {
	e := encoder{b: dst}
	if p.HasPayloadFormat {
		e.propBool(propPayloadFormat, p.PayloadIsUTF8)
	}
	if p.ContentType != "" {
		e.propText(propContentType, p.ContentType)
	}
	if p.ResponseTopic != "" {
		e.propText(propResponseTopic, p.ResponseTopic)
	}
	if p.CorrelationData != nil {
		e.propBinary(propCorrelationData, p.CorrelationData)
	}
	return appendUserProperties(e.b, p.UserProperties)
}

// user is the pair in a User Property, owned.
func (p *property) user() UserProperty {
	return UserProperty{Name: string(p.name), Value: string(p.value)}
}

// keep appends the pair in a User Property, unless nobody reads it: fifteen of them may be a
// megabyte, which is copied for nothing.
func (l Limits) keep(users []UserProperty, p *property) []UserProperty {
	if l.SkipUsers {
		return users
	}
	return append(users, p.user())
}

// perHop are the properties that belong to one hop of a message: they are said
// anew for each receiver, or not at all.
const perHop = 1<<propMessageExpiry | 1<<propTopicAlias | 1<<propSubscriptionID | 1<<propWillDelay

// appendForwardable appends the properties in a validated raw section that go on
// to subscribers, unchanged and in order [MQTT-3.3.2-4] [MQTT-3.3.2-15]
// [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20].
func appendForwardable(dst, raw []byte) []byte {
	from := 0 // what is kept since then has not been copied yet
	for i := 0; i < len(raw); {
		n := propSize(raw[i:])
		if uint64(perHop)&(1<<raw[i]) != 0 {
			dst = append(dst, raw[from:i]...)
			from = i + n
		}
		i += n
	}
	return append(dst, raw[from:]...)
}

// propSize is how many bytes the property at the front of a validated section
// takes.
func propSize(b []byte) int {
	n := -1
	if b[0] < propCount {
		switch propRules[b[0]].kind {
		case kindBool:
			n = 2
		case kindUint16:
			n = 3
		case kindUint32:
			n = 5
		case kindVarint:
			if _, size, _ := readVarint(b[1:], true); size > 0 {
				n = 1 + size
			}
		case kindBinary, kindText:
			n = fieldEnd(b, 1)
		case kindPair:
			if n = fieldEnd(b, 1); n > 0 {
				n = fieldEnd(b, n)
			}
		}
	}
	if n < 0 || n > len(b) {
		panic("BUG: mqtt: property section was not validated")
	}
	return n
}

// fieldEnd is where the field that begins at b[at] ends, or -1 if that is beyond
// b.
func fieldEnd(b []byte, at int) int {
	if len(b)-at < 2 {
		return -1
	}
	return at + 2 + int(binary.BigEndian.Uint16(b[at:]))
}
