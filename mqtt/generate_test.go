package mqtt

import "pgregory.net/rapid"

// Generators of packets that a conforming peer could send. They are drawn from,
// not filtered: what they make must be accepted.

var (
	genText   = rapid.StringOfN(rapid.RuneFrom([]rune("aZ09/$ éß漢😀\ufeff\u0001\uffff")), 0, 40, -1)
	genFull   = rapid.StringOfN(rapid.RuneFrom([]rune("ab/é漢😀")), 1, 40, -1) // not empty
	genBytes  = rapid.SliceOfN(rapid.Byte(), 0, 300)
	genUsers  = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) UserProperty { return UserProperty{genText.Draw(t, "name"), genText.Draw(t, "value")} }), 0, 4)
	genID     = rapid.Uint16Range(1, 65535)
	genQoS    = rapid.Map(rapid.IntRange(0, 2), func(n int) QoS { return QoS(n) })
	genBool   = rapid.Bool()
	genUint32 = rapid.Uint32()
	genUint16 = rapid.Uint16()
)

// maybe draws a value or nil.
func maybe[T any](t *rapid.T, g *rapid.Generator[T], label string) *T {
	if !genBool.Draw(t, "has "+label) {
		return nil
	}
	return new(g.Draw(t, label))
}

// maybeBytes draws nil or a slice that is not nil.
func maybeBytes(t *rapid.T, label string) []byte {
	if !genBool.Draw(t, "has "+label) {
		return nil
	}
	return genBytes.Draw(t, label)
}

func users(t *rapid.T, v Version) []UserProperty {
	if u := genUsers.Draw(t, "users"); v == V5 && len(u) > 0 {
		return u
	}
	return nil
}

// oneCode draws a code of a set.
func oneCode(t *rapid.T, set *codeSet) ReasonCode {
	var all []ReasonCode
	for c := range 256 {
		if set.has(ReasonCode(c)) {
			all = append(all, ReasonCode(c))
		}
	}
	return rapid.SampledFrom(all).Draw(t, "reason")
}

func genMessageProps(t *rapid.T) []byte {
	p := PublishProperties{
		HasPayloadFormat: genBool.Draw(t, "has format"),
		ContentType:      genText.Draw(t, "content type"),
		CorrelationData:  maybeBytes(t, "correlation"),
		UserProperties:   genUsers.Draw(t, "users"),
	}
	p.PayloadIsUTF8 = p.HasPayloadFormat && genBool.Draw(t, "format")
	if genBool.Draw(t, "has response topic") {
		p.ResponseTopic = genFull.Draw(t, "response topic")
	}
	return p.Append([]byte{})
}

func genPublish(t *rapid.T, v Version, fromServer bool) packet {
	p := &wholePublish{Publish{
		Topic:   []byte(genFull.Draw(t, "topic")),
		Payload: genBytes.Draw(t, "payload"),
		QoS:     genQoS.Draw(t, "qos"),
		Retain:  genBool.Draw(t, "retain"),
	}}
	if p.QoS > 0 {
		p.PacketID, p.Dup = genID.Draw(t, "id"), genBool.Draw(t, "dup")
	}
	if v != V5 {
		return p
	}
	p.Props = genMessageProps(t)
	if m, err := ParsePublishProperties(p.Props); err != nil {
		t.Fatalf("generated properties: %v", err)
	} else if m.ResponseTopic != "" {
		p.ResponseTopic = []byte(m.ResponseTopic)
	}
	if p.HasMessageExpiry = genBool.Draw(t, "has expiry"); p.HasMessageExpiry {
		p.MessageExpiry = genUint32.Draw(t, "expiry")
	}
	if p.HasTopicAlias = genBool.Draw(t, "has alias"); p.HasTopicAlias {
		p.TopicAlias = genID.Draw(t, "alias")
		if genBool.Draw(t, "alias only") {
			p.Topic = []byte{}
		}
	}
	if fromServer {
		p.SubscriptionIDs = rapid.SliceOfN(rapid.Uint32Range(1, SubscriptionIDMax), 1, 5).Draw(t, "subscription ids")
	}
	return p
}

func genConnect(t *rapid.T, v Version) packet {
	p := &Connect{
		Version:                   v,
		CleanStart:                genBool.Draw(t, "clean start"),
		KeepAlive:                 genUint16.Draw(t, "keep alive"),
		ClientID:                  genFull.Draw(t, "client id"),
		HasUsername:               genBool.Draw(t, "has user name"),
		ReceiveMaximum:            65535,
		RequestProblemInformation: true,
	}
	if p.HasUsername {
		p.Username = genText.Draw(t, "user name")
	}
	if p.HasPassword = (v == V5 || p.HasUsername) && genBool.Draw(t, "has password"); p.HasPassword {
		p.Password = genBytes.Draw(t, "password")
	}
	if genBool.Draw(t, "has will") {
		p.Will = &Will{
			Topic:   genFull.Draw(t, "will topic"),
			Payload: genBytes.Draw(t, "will payload"),
			QoS:     genQoS.Draw(t, "will qos"),
			Retain:  genBool.Draw(t, "will retain"),
		}
	}
	if v != V5 {
		return p
	}
	if w := p.Will; w != nil {
		w.Props = genMessageProps(t)
		w.DelaySeconds = genUint32.Draw(t, "will delay")
		if w.HasMessageExpiry = genBool.Draw(t, "will has expiry"); w.HasMessageExpiry {
			w.MessageExpiry = genUint32.Draw(t, "will expiry")
		}
	}
	p.SessionExpiry = genUint32.Draw(t, "session expiry")
	p.ReceiveMaximum = genID.Draw(t, "receive maximum")
	p.MaximumPacketSize = genUint32.Draw(t, "maximum packet size")
	p.TopicAliasMaximum = genUint16.Draw(t, "topic alias maximum")
	p.RequestResponseInformation = genBool.Draw(t, "response information")
	p.RequestProblemInformation = genBool.Draw(t, "problem information")
	p.UserProperties = users(t, v)
	if p.HasAuthMethod = genBool.Draw(t, "has method"); p.HasAuthMethod {
		p.AuthMethod, p.AuthData = genText.Draw(t, "method"), maybeBytes(t, "data")
	}
	return p
}

func genConnack(t *rapid.T, v Version) packet {
	p := &Connack{Reason: oneCode(t, &connackCodes)}
	if v != V5 {
		p.Reason, _ = reasonFromConnackV3(byte(rapid.IntRange(0, 5).Draw(t, "code")))
	}
	p.SessionPresent = p.Reason == Success && v != V31 && genBool.Draw(t, "session present")
	if v != V5 {
		return p
	}
	p.SessionExpiry = maybe(t, genUint32, "session expiry")
	p.ReceiveMaximum = genUint16.Draw(t, "receive maximum")
	p.MaximumQoS = maybe(t, rapid.Map(genBool, func(one bool) QoS {
		if one {
			return 1
		}
		return 0
	}), "maximum qos")
	p.RetainAvailable = maybe(t, genBool, "retain")
	p.WildcardAvailable = maybe(t, genBool, "wildcard")
	p.SubscriptionIDsAvailable = maybe(t, genBool, "subscription ids")
	p.SharedAvailable = maybe(t, genBool, "shared")
	p.MaximumPacketSize = genUint32.Draw(t, "maximum packet size")
	p.AssignedClientID = genText.Draw(t, "assigned")
	p.ReasonString = genText.Draw(t, "reason string")
	p.ResponseInformation = genText.Draw(t, "response information")
	p.ServerReference = genText.Draw(t, "reference")
	p.TopicAliasMaximum = genUint16.Draw(t, "alias maximum")
	p.ServerKeepAlive = maybe(t, genUint16, "keep alive")
	p.UserProperties = users(t, v)
	p.AuthMethod, p.AuthData = genText.Draw(t, "method"), maybeBytes(t, "data")
	return p
}

func genSubscribe(t *rapid.T, v Version) packet {
	p := &Subscribe{PacketID: genID.Draw(t, "id"), UserProperties: users(t, v)}
	if v == V5 {
		p.SubscriptionID = rapid.Uint32Range(0, SubscriptionIDMax).Draw(t, "subscription id")
	}
	for range rapid.IntRange(1, 5).Draw(t, "filters") {
		s := Subscription{Filter: genFull.Draw(t, "filter"), QoS: genQoS.Draw(t, "qos")}
		if v == V5 {
			s.NoLocal, s.RetainAsPublished = genBool.Draw(t, "no local"), genBool.Draw(t, "retain as published")
			s.RetainHandling = byte(rapid.IntRange(0, 2).Draw(t, "retain handling"))
		}
		p.Filters = append(p.Filters, s)
	}
	return p
}

func genUnsubscribe(t *rapid.T, v Version) packet {
	return &Unsubscribe{
		PacketID:       genID.Draw(t, "id"),
		Filters:        rapid.SliceOfN(genFull, 1, 5).Draw(t, "filters"),
		UserProperties: users(t, v),
	}
}

func genReason(t *rapid.T, v Version) string {
	if v != V5 {
		return ""
	}
	return genText.Draw(t, "reason string")
}

// genAnswer draws one of the packets that are a reason and its extras.
func genAnswer(t *rapid.T, v Version, k Type) packet {
	switch k {
	case SUBACK:
		p := &Suback{PacketID: genID.Draw(t, "id"), ReasonString: genReason(t, v), UserProperties: users(t, v)}
		set := &subackCodes
		if v != V5 {
			set = new(codes(Success, GrantedQoS1, GrantedQoS2, UnspecifiedError))
		}
		for range rapid.IntRange(1, 5).Draw(t, "reasons") {
			p.Reasons = append(p.Reasons, oneCode(t, set))
		}
		return p
	case UNSUBACK:
		p := &Unsuback{PacketID: genID.Draw(t, "id"), ReasonString: genReason(t, v), UserProperties: users(t, v)}
		for range rapid.IntRange(1, 5).Draw(t, "reasons") {
			if v == V5 {
				p.Reasons = append(p.Reasons, oneCode(t, &unsubackCodes))
			}
		}
		return p
	}
	p := &Ack{Type: k, PacketID: genID.Draw(t, "id"), ReasonString: genReason(t, v), UserProperties: users(t, v)}
	if v == V5 {
		set, _ := ackRules(k)
		p.Reason = oneCode(t, set)
	}
	return p
}

func genDisconnect(t *rapid.T, v Version, fromServer bool) packet {
	p := &Disconnect{}
	if v != V5 {
		return p
	}
	p.ReasonString, p.UserProperties = genReason(t, v), users(t, v)
	if fromServer {
		p.Reason, p.ServerReference = oneCode(t, &disconnectFromServer), genText.Draw(t, "reference")
	} else {
		p.Reason, p.SessionExpiry = oneCode(t, &disconnectFromClient), maybe(t, genUint32, "session expiry")
	}
	return p
}

func genAuth(t *rapid.T, fromServer bool) packet {
	set := &authFromClient
	if fromServer {
		set = &authFromServer
	}
	return &Auth{
		Reason: oneCode(t, set), Method: genText.Draw(t, "method"), Data: maybeBytes(t, "data"),
		ReasonString: genText.Draw(t, "reason string"), UserProperties: users(t, V5),
	}
}

// genPacket draws any packet that the given side may send in the given version.
func genPacket(t *rapid.T, v Version, fromServer bool) packet {
	types := []Type{CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT}
	if fromServer {
		types = []Type{CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, PINGRESP}
		if v == V5 {
			types = append(types, DISCONNECT)
		}
	}
	if v == V5 {
		types = append(types, AUTH)
	}
	switch k := rapid.SampledFrom(types).Draw(t, "type"); k {
	case CONNECT:
		return genConnect(t, v)
	case CONNACK:
		return genConnack(t, v)
	case PUBLISH:
		return genPublish(t, v, fromServer)
	case SUBSCRIBE:
		return genSubscribe(t, v)
	case UNSUBSCRIBE:
		return genUnsubscribe(t, v)
	case DISCONNECT:
		return genDisconnect(t, v, fromServer)
	case AUTH:
		return genAuth(t, fromServer)
	case PINGREQ, PINGRESP:
		return &ping{k}
	default:
		return genAnswer(t, v, k)
	}
}

var genVersion = rapid.SampledFrom([]Version{V31, V311, V5})
