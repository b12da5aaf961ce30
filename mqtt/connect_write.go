package mqtt

// Append appends the packet in version v; p.Version is not looked at. What v does
// not know is left out. User properties are left out when the packet would pass
// max bytes; max 0 is no limit.
func (p *Connect) Append(dst []byte, v Version, max uint32) []byte {
	e := newEncoder(dst)
	if v == V31 {
		e.text("MQIsdp")
	} else {
		e.text("MQTT")
	}
	e.byte(byte(v))
	e.byte(p.flags())
	e.uint16(p.KeepAlive)
	payload := p.payload(v)
	if v == V5 {
		p.appendProps(&e, max, len(payload))
	}
	e.b = append(e.b, payload...)
	return e.finish(CONNECT, 0)
}

// payload encodes what follows the properties. It is made before them, because
// how many user properties fit depends on its size; a client does that once per
// connection.
func (p *Connect) payload(v Version) []byte {
	e := newEncoder(nil)
	e.text(p.ClientID)
	if w := p.Will; w != nil {
		if v == V5 {
			w.appendProps(&e)
		}
		e.text(w.Topic)
		e.binary(w.Payload)
	}
	if p.HasUsername {
		e.text(p.Username)
	}
	if p.HasPassword {
		e.binary(p.Password)
	}
	return e.b[headerMax:]
}

func (p *Connect) flags() (f byte) {
	if p.CleanStart {
		f |= connCleanStart
	}
	if w := p.Will; w != nil {
		f |= connWill | byte(w.QoS&3)<<3
		if w.Retain {
			f |= connWillRetain
		}
	}
	if p.HasUsername {
		f |= connUsername
	}
	if p.HasPassword {
		f |= connPassword
	}
	return f
}

// appendProps writes the properties that differ from what their absence means.
// after is how many bytes follow them.
func (p *Connect) appendProps(e *encoder, max uint32, after int) {
	e.openProps()
	if p.SessionExpiry != 0 {
		e.propUint32(propSessionExpiry, p.SessionExpiry)
	}
	if p.ReceiveMaximum != 0 && p.ReceiveMaximum != 65535 {
		e.propUint16(propReceiveMaximum, p.ReceiveMaximum)
	}
	if p.MaximumPacketSize != 0 {
		e.propUint32(propMaximumPacketSize, p.MaximumPacketSize)
	}
	if p.TopicAliasMaximum != 0 {
		e.propUint16(propTopicAliasMaximum, p.TopicAliasMaximum)
	}
	if p.RequestResponseInformation {
		e.propBool(propRequestResponseInformation, true)
	}
	if !p.RequestProblemInformation {
		e.propBool(propRequestProblemInformation, false)
	}
	if p.HasAuthMethod {
		e.propText(propAuthMethod, p.AuthMethod)
		if p.AuthData != nil {
			e.propBinary(propAuthData, p.AuthData)
		}
	}
	e.extras("", p.UserProperties, max, after)
	e.closeProps()
}

func (w *Will) appendProps(e *encoder) {
	e.openProps()
	if w.DelaySeconds != 0 {
		e.propUint32(propWillDelay, w.DelaySeconds)
	}
	if w.HasMessageExpiry {
		e.propUint32(propMessageExpiry, w.MessageExpiry)
	}
	e.b = appendForwardable(e.b, w.Props)
	e.closeProps()
}
