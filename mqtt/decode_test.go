package mqtt

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
)

// packet is any decoded packet, as tests pass them around.
type packet interface {
	Append(dst []byte, v Version, max uint32) []byte
}

// wholePublish gives a Publish the signature of the others.
type wholePublish struct{ Publish }

func (p *wholePublish) Append(dst []byte, v Version, _ uint32) []byte {
	return p.Publish.Append(dst, v)
}

// ping is a packet without a body.
type ping struct{ Type Type }

func (p *ping) Append(dst []byte, _ Version, _ uint32) []byte {
	if p.Type == PINGREQ {
		return AppendPingreq(dst)
	}
	return AppendPingresp(dst)
}

// decodePacket takes one packet off b, as a server would if it came from a client,
// and as a client would if it came from a server. n is its size; 0 with a nil
// error means that b ends too early.
func decodePacket(b []byte, v Version, fromServer bool, lim Limits) (p packet, n int, err error) {
	head := v
	if b0 := append(b, 0)[0]; Type(b0>>4) == CONNECT {
		head = 0 // it comes before there is a version
	}
	h, ok, err := ReadHeader(b, head)
	if err != nil || !ok || len(b)-h.Size < h.Remaining {
		return nil, 0, err
	}
	body := b[h.Size : h.Size+h.Remaining]
	switch h.Type {
	case CONNECT:
		q := &Connect{}
		p, err = q, DecodeConnect(body, lim, q)
	case CONNACK:
		q := &Connack{}
		p, err = q, DecodeConnack(body, h, v, lim, q)
	case PUBLISH:
		q := &wholePublish{}
		p = q
		if fromServer {
			err = DecodePublishClient(body, h, v, lim, &q.Publish)
		} else {
			err = DecodePublish(body, h, v, lim, &q.Publish)
		}
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		q := &Ack{}
		p, err = q, DecodeAck(body, h, v, lim, q)
	case SUBSCRIBE:
		q := &Subscribe{}
		p, err = q, DecodeSubscribe(body, h, v, lim, q)
	case SUBACK:
		q := &Suback{}
		p, err = q, DecodeSuback(body, h, v, lim, q)
	case UNSUBSCRIBE:
		q := &Unsubscribe{}
		p, err = q, DecodeUnsubscribe(body, h, v, lim, q)
	case UNSUBACK:
		q := &Unsuback{}
		p, err = q, DecodeUnsuback(body, h, v, lim, q)
	case DISCONNECT:
		q := &Disconnect{}
		p = q
		if fromServer {
			err = DecodeDisconnectClient(body, h, v, lim, q)
		} else {
			err = DecodeDisconnect(body, h, v, lim, q)
		}
	case AUTH:
		q := &Auth{}
		p = q
		if fromServer {
			err = DecodeAuthClient(body, h, v, lim, q)
		} else {
			err = DecodeAuth(body, h, v, lim, q)
		}
	default:
		p = &ping{h.Type}
	}
	return p, h.Size + h.Remaining, err
}

// versionOf is the version p was decoded as, when it was read on a connection of
// version v.
func versionOf(p packet, v Version) Version {
	if c, ok := p.(*Connect); ok {
		return c.Version
	}
	return v
}

// normal is p in the form that encoding and decoding again must give back: the
// properties of a PUBLISH without those that have fields of their own.
func normal(p packet) packet {
	q, ok := p.(*wholePublish)
	if !ok {
		return p
	}
	c := *q
	if c.Props != nil {
		c.Props = appendForwardable([]byte{}, c.Props)
	}
	if len(c.SubscriptionIDs) == 0 {
		c.SubscriptionIDs = nil
	}
	return &c
}

// sameAgain encodes p, decodes that and says how the result differs, if it does.
func sameAgain(p packet, v Version, fromServer bool) error {
	v = versionOf(p, v)
	wire := p.Append(nil, v, 0)
	q, n, err := decodePacket(wire, v, fromServer, Limits{UserProperties: -1})
	if err != nil {
		return fmt.Errorf("% x: %w", wire, err)
	}
	if n != len(wire) {
		return fmt.Errorf("% x: decoded %d bytes of %d", wire, n, len(wire))
	}
	if want, got := normal(p), normal(q); !reflect.DeepEqual(want, got) {
		return fmt.Errorf("% x: encoded %s, decoded %s", wire, describe(want), describe(got))
	}
	if again := q.Append(nil, v, 0); string(again) != string(wire) {
		return fmt.Errorf("encoded % x, then % x", wire, again)
	}
	return nil
}

// describe writes a packet as its name and its fields that are not zero.
func describe(p packet) string {
	v := reflect.ValueOf(p).Elem()
	name := strings.ToUpper(v.Type().Name())
	switch q := p.(type) {
	case *wholePublish:
		v, name = reflect.ValueOf(q.Publish), "PUBLISH"
	case *Ack:
		name = q.Type.String()
	case *ping:
		name = q.Type.String()
	}
	return name + describeFields(v)
}

func describeFields(v reflect.Value) string {
	var b strings.Builder
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case name == "Type" || f.IsZero():
		case f.Kind() == reflect.Bool:
			b.WriteString(" " + name)
		default:
			b.WriteString(" " + name + "=" + describeValue(f))
		}
	}
	return b.String()
}

func describeValue(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		return describeValue(v.Elem())
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	case reflect.Struct:
		if u, ok := v.Interface().(UserProperty); ok {
			return fmt.Sprintf("%q:%q", u.Name, u.Value)
		}
		return "{" + strings.TrimSpace(describeFields(v)) + "}"
	case reflect.Slice:
		if b, ok := v.Interface().([]byte); ok {
			return "<" + hex.EncodeToString(b) + ">"
		}
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = describeValue(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return strings.ReplaceAll(fmt.Sprint(v.Interface()), " ", "_")
}

// describeError writes what a peer and an operator would see of a refusal.
func describeError(err error) string {
	e := err.(*Error)
	s := fmt.Sprintf("refused 0x%02x %s", byte(e.Reason), e.Reason)
	if e.Rule != "" {
		s += " [" + e.Rule + "]"
	}
	return s + ": " + e.Detail
}
