package fact

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Bits of a Message's and a Will's flags beside the QoS.
const (
	bitRetain  = 1 << 2
	bitExpiry  = 1 << 3
	bitBroad   = 1 << 4 // of a Message only
	bitBy      = 1 << 5 // of a Message only
	bitOnly    = 1 << 6 // of a Message only
	bitToken   = 1 << 5 // of a Will only
	willBits   = qosBits | bitRetain | bitExpiry
	filterSize = 8
)

// Append appends the encoding to dst. More than FiltersMax filters, a filter 0 and a
// QoS above 2 are the caller's mistake.
func (m *Message) Append(dst []byte) []byte {
	if len(m.Filters) > FiltersMax || slices.Contains(m.Filters, 0) {
		panic(fmt.Sprintf("BUG: a message for %d filters, or for filter 0", len(m.Filters)))
	}
	dst = append(dst, format, quality(m.QoS)|flag(m.Retain, bitRetain)|flag(m.ExpiresAt != 0, bitExpiry)|flag(m.Broad, bitBroad)|flag(m.By != 0, bitBy)|flag(m.Only != 0, bitOnly))
	if m.ExpiresAt != 0 {
		dst = binary.AppendVarint(dst, m.ExpiresAt)
	}
	if m.Only != 0 {
		dst = binary.AppendUvarint(dst, uint64(m.Only))
	}
	if m.By != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(m.By))
	}
	dst = append(dst, byte(len(m.Filters)))
	for _, id := range m.Filters {
		dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	}
	dst = appendString(dst, m.Topic)
	dst = appendString(dst, m.Props)
	return appendString(dst, m.Payload)
}

// Decode reads a whole body into m. The slices are parts of b, and Filters is in the
// room that m.Filters had, so that a Message which is used again allocates nothing.
// After an error m is no message.
func (m *Message) Decode(b []byte) error {
	d, filters := body(b), m.Filters[:0]
	flags := d.flags(willBits | bitBroad | bitBy | bitOnly)
	*m = Message{QoS: d.qos(flags), Retain: flags&bitRetain != 0, Broad: flags&bitBroad != 0}
	if flags&bitExpiry != 0 {
		m.ExpiresAt = d.signed("the expiry")
		d.check(m.ExpiresAt != 0, "the expiry")
	}
	if flags&bitOnly != 0 {
		m.Only = d.seq("the number it is only for")
		d.check(m.Only != 0, "the number it is only for")
	}
	if flags&bitBy != 0 {
		if b := d.take(8, "who published it"); b != nil {
			m.By = AuthorID(binary.BigEndian.Uint64(b))
		}
		d.check(m.By != 0, "who published it")
	}
	n := int(d.byte("the number of filters"))
	d.check(n <= FiltersMax, "the number of filters")
	if ids := d.take(uint64(n)*filterSize, "a filter"); d.bad == "" && n > 0 {
		filters = slices.Grow(filters, n)
		for ; len(ids) > 0; ids = ids[filterSize:] {
			id := FilterID(binary.BigEndian.Uint64(ids))
			d.check(id != 0, "a filter")
			filters = append(filters, id)
		}
	}
	m.Filters = filters
	m.Topic, m.Props, m.Payload = d.bytes("the topic"), d.bytes("the properties"), d.bytes("the payload")
	return d.end("message")
}

// Append appends the encoding to dst. A QoS above 2 is the caller's mistake.
// ExpirySeconds counts with HasExpiry only.
func (w *Will) Append(dst []byte) []byte {
	dst = append(dst, format, quality(w.QoS)|flag(w.Retain, bitRetain)|flag(w.HasExpiry, bitExpiry)|flag(w.By.Shown, bitToken))
	if w.By.Shown {
		dst = w.By.appendFields(dst)
	}
	if w.HasExpiry {
		dst = binary.AppendUvarint(dst, uint64(w.ExpirySeconds))
	}
	dst = binary.AppendUvarint(dst, uint64(w.DelaySeconds))
	dst = appendString(dst, w.Topic)
	dst = appendString(dst, w.Props)
	return appendString(dst, w.Payload)
}

// Decode reads a whole body into w, of which the slices are parts of b. After an
// error w is no will.
func (w *Will) Decode(b []byte) error {
	d := body(b)
	flags := d.flags(willBits | bitToken)
	*w = Will{QoS: d.qos(flags), Retain: flags&bitRetain != 0, HasExpiry: flags&bitExpiry != 0}
	if flags&bitToken != 0 {
		w.By = d.token()
	}
	if w.HasExpiry {
		w.ExpirySeconds = d.seconds("the expiry")
	}
	w.DelaySeconds = d.seconds("the delay")
	w.Topic, w.Props, w.Payload = d.bytes("the topic"), d.bytes("the properties"), d.bytes("the payload")
	return d.end("will")
}

// seconds takes a number of 32 bits, which is what MQTT has for times.
func (d *decoder) seconds(what string) uint32 { return uint32(d.number(1<<32-1, what)) } //nolint:gosec // within the limit
