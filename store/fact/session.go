package fact

import "encoding/binary"

const (
	// Of a Claim.
	bitClean = 1 << 0
	bitMoves = 1 << 1
	bitSure  = 1 << 2

	bitKeepWill = 1 << 0 // of a Release

	// Of a Subscription, beside the QoS.
	bitNoLocal           = 1 << 2
	bitRetainAsPublished = 1 << 3
	bitExclusive         = 1 << 4
	bitOwed              = 1 << 5
)

// Append appends the encoding to dst.
func (c *Claim) Append(dst []byte) []byte {
	dst = append(dst, format, flag(c.Clean, bitClean)|flag(c.Moves, bitMoves)|flag(c.Sure, bitSure), c.Version)
	dst = c.appendFields(dst)
	dst = appendString(dst, c.Node)
	dst = binary.AppendUvarint(dst, uint64(c.ExpirySeconds))
	if c.Sure {
		dst = binary.AppendUvarint(dst, c.From)
	}
	return dst
}

// Decode reads a whole body into c. After an error c is no claim. What is the same as in the
// claim that c was is not copied again.
func (c *Claim) Decode(b []byte) error {
	d := body(b)
	flags := d.flags(bitClean | bitMoves | bitSure)
	was := *c
	*c = Claim{Owner: was.Owner, Clean: flags&bitClean != 0, Moves: flags&bitMoves != 0, Sure: flags&bitSure != 0, Version: d.byte("the version")}
	d.check(!c.Moves || !c.Clean && !c.Sure, "the flags")
	c.takeFields(&d)
	c.Node, c.ExpirySeconds = d.stringLike("the node", was.Node, c.Identity), d.seconds("the expiry")
	if c.Sure {
		c.From = d.number(1<<64-1, "the epoch")
	}
	return d.end("claim")
}

// appendFields appends an owner within a body.
func (o *Owner) appendFields(dst []byte) []byte {
	for _, s := range [...]string{o.Mountpoint, o.Identity, o.ClientID, o.Username, o.Listener, o.Method} {
		dst = appendString(dst, s)
	}
	return appendAddr(binary.BigEndian.AppendUint64(dst, o.Proof), o.Addr)
}

// takeFields reads what appendFields wrote. A fleet has one listener and one method, and a
// device often one name for all it is asked for.
func (o *Owner) takeFields(d *decoder) {
	o.Mountpoint = d.stringLike("the mountpoint", o.Mountpoint, "")
	o.Identity = d.stringLike("the identity", o.Identity, "")
	o.ClientID = d.stringLike("the client id", o.ClientID, o.Identity)
	o.Username = d.stringLike("the user name", o.Identity, o.Username)
	o.Listener, o.Method = d.stringLike("the listener", o.Listener, ""), d.stringLike("the method", o.Method, "")
	o.Proof, o.Addr = d.uint64("the proof"), d.addr("the address")
}

// Append appends the encoding to dst.
func (r *Release) Append(dst []byte) []byte {
	dst = append(dst, format, flag(r.KeepWill, bitKeepWill))
	return binary.AppendUvarint(dst, uint64(r.ExpirySeconds))
}

// Decode reads a whole body into r. After an error r is no release.
func (r *Release) Decode(b []byte) error {
	d := body(b)
	*r = Release{KeepWill: d.flags(bitKeepWill)&bitKeepWill != 0, ExpirySeconds: d.seconds("the expiry")}
	return d.end("release")
}

// Append appends the encoding to dst. ID 0 and a QoS above 2 are the caller's
// mistake.
func (s *Subscription) Append(dst []byte) []byte {
	if s.ID == 0 {
		panic("BUG: a subscription without the id of its filter")
	}
	dst = append(dst, format, quality(s.QoS)|flag(s.NoLocal, bitNoLocal)|flag(s.RetainAsPublished, bitRetainAsPublished)|flag(s.Exclusive, bitExclusive)|flag(s.Owed, bitOwed))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.ID))
	dst = binary.AppendUvarint(dst, uint64(s.SubID))
	return appendString(appendString(dst, s.Filter), s.Real)
}

// Decode reads a whole body into s. After an error s is no subscription.
func (s *Subscription) Decode(b []byte) error {
	d := body(b)
	flags := d.flags(qosBits | bitNoLocal | bitRetainAsPublished | bitExclusive | bitOwed)
	*s = Subscription{
		QoS: d.qos(flags), NoLocal: flags&bitNoLocal != 0, RetainAsPublished: flags&bitRetainAsPublished != 0, Exclusive: flags&bitExclusive != 0, Owed: flags&bitOwed != 0,
		ID: FilterID(d.uint64("the id of the filter")), SubID: uint32(d.number(1<<32-1, "the subscription id")), //nolint:gosec // within the limit
	}
	d.check(s.ID != 0, "the id of the filter")
	s.Filter = d.string("the filter")
	s.Real = d.stringLike("the real filter", s.Filter, "")
	return d.end("subscription")
}

// Append appends the encoding to dst.
func (u *Unsubscription) Append(dst []byte) []byte {
	return appendString(append(dst, format), u.Filter)
}

// Decode reads a whole body into u. After an error u is no unsubscription.
func (u *Unsubscription) Decode(b []byte) error {
	d := body(b)
	u.Filter = d.string("the filter")
	return d.end("unsubscription")
}
