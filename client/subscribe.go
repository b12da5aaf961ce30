package client

import (
	"context"
	"fmt"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Granted is the server's verdict on one filter.
type Granted struct {
	Filter string
	Reason mqtt.ReasonCode // GrantedQoS0 (Success) to GrantedQoS2, or the refusal
	Err    error           // an *Error if the filter was refused
}

// Subscribe sends s, whose PacketID is set here, and waits for SUBACK. The error
// is for the whole; refusals of single filters are in the results.
func (c *Client) Subscribe(ctx context.Context, s mqtt.Subscribe) ([]Granted, error) {
	if err := c.verifySubscribe(&s); err != nil {
		return nil, err
	}
	p := &Pending{next: mqtt.SUBACK, many: len(s.Filters), done: make(chan struct{})}
	var err error
	if s.PacketID, err = c.register(p); err != nil {
		return nil, err
	}
	for _, f := range s.Filters {
		c.tracef("sending SUBSCRIBE id=%d qos=%d filter=%s", s.PacketID, f.QoS, Printable(f.Filter))
	}
	if err := c.request(ctx, p, s.PacketID, s.Append(nil, c.version, c.connack.MaximumPacketSize)); err != nil {
		return nil, err
	}
	out := make([]Granted, len(s.Filters))
	for i, r := range p.reasons {
		out[i] = Granted{Filter: s.Filters[i].Filter, Reason: r}
		if r.Failed() {
			out[i].Err = c.refusedSubscription(out[i].Filter, r, p.reasonString)
		}
	}
	return out, nil
}

// Unsubscribe sends u, whose PacketID is set here, and waits for UNSUBACK. The
// results are empty before 5.0, where the server gives none.
func (c *Client) Unsubscribe(ctx context.Context, u mqtt.Unsubscribe) ([]Granted, error) {
	for _, f := range u.Filters {
		if err := VerifyFilter(f); err != nil {
			return nil, err
		}
	}
	if err := verifyUserProperties(u.UserProperties); err != nil {
		return nil, err
	}
	p := &Pending{next: mqtt.UNSUBACK, done: make(chan struct{})}
	if c.version == mqtt.V5 {
		p.many = len(u.Filters)
	}
	var err error
	if u.PacketID, err = c.register(p); err != nil {
		return nil, err
	}
	for _, f := range u.Filters {
		c.tracef("sending UNSUBSCRIBE id=%d filter=%s", u.PacketID, Printable(f))
	}
	if err := c.request(ctx, p, u.PacketID, u.Append(nil, c.version, c.connack.MaximumPacketSize)); err != nil {
		return nil, err
	}
	out := make([]Granted, len(p.reasons))
	for i, r := range p.reasons {
		out[i] = Granted{Filter: u.Filters[i], Reason: r}
		if r.Failed() {
			out[i].Err = &Error{Kind: KindSubscribeRefused, Reason: r, Details: serverSays(p.reasonString),
				What: fmt.Sprintf("the server refused to unsubscribe %s: %s (UNSUBACK 0x%02X)", quote(u.Filters[i]), r, byte(r))}
		}
	}
	return out, nil
}

// request sends the packet of p and waits for the answer.
func (c *Client) request(ctx context.Context, p *Pending, id uint16, packet []byte) error {
	if limit := c.connack.MaximumPacketSize; limit > 0 && len(packet) > int(limit) {
		c.forget(id)
		return &Error{Kind: KindUnsupported, Reason: mqtt.PacketTooLarge,
			What: fmt.Sprintf("the filters make a packet of %d bytes, and the server takes at most %d", len(packet), limit)}
	}
	if !c.out.put(ctx, c.done, packet) {
		c.forget(id)
		return c.whyNot(ctx)
	}
	_, err := p.Wait(ctx)
	return err
}

// handleAnswer is a SUBACK or UNSUBACK.
func (c *Client) handleAnswer(t mqtt.Type, id uint16, reasons []mqtt.ReasonCode, reasonString string) error {
	p, next := c.waits(id, false)
	if p == nil {
		return nil
	}
	if next != t {
		return &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "§4.3", Detail: t.String() + " where " + next.String() + " was due"}
	}
	if len(reasons) != p.many { // [MQTT-3.9.3-1]
		return &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "MQTT-3.9.3-1", Detail: fmt.Sprintf("%s with %d reasons for %d filters", t, len(reasons), p.many)}
	}
	c.settle(id, nil, reasonString, reasons...)
	return nil
}

// verifySubscribe refuses what the server announced it does not do, and what no
// server may be sent.
func (c *Client) verifySubscribe(s *mqtt.Subscribe) error {
	if len(s.Filters) == 0 {
		return &Error{Kind: KindOptions, What: "nothing to subscribe to"}
	}
	unsupported := func(reason mqtt.ReasonCode, what string) error {
		return &Error{Kind: KindUnsupported, Reason: reason, What: what}
	}
	no := func(available *bool) bool { return available != nil && !*available }
	a := &c.connack
	for _, f := range s.Filters {
		if err := VerifyFilter(f.Filter); err != nil {
			return err
		}
		_, _, shared, _ := topic.ParseShare(f.Filter) // judged by VerifyFilter
		switch {
		case topic.HasWildcard(f.Filter) && no(a.WildcardAvailable):
			return unsupported(mqtt.WildcardSubscriptionsNotSupported, "the server has no wildcard subscriptions, and "+quote(f.Filter)+" is one")
		case shared && no(a.SharedAvailable):
			return unsupported(mqtt.SharedSubscriptionsNotSupported, "the server has no shared subscriptions, and "+quote(f.Filter)+" is one")
		}
	}
	if s.SubscriptionID != 0 && no(a.SubscriptionIDsAvailable) {
		return unsupported(mqtt.SubscriptionIdentifiersNotSupported, "the server has no subscription identifiers")
	}
	if c.version != mqtt.V5 && (s.SubscriptionID != 0 || s.UserProperties != nil) {
		return &Error{Kind: KindOptions, What: "MQTT " + c.version.String() + " has no properties; use 5.0"}
	}
	return verifyUserProperties(s.UserProperties)
}

// VerifyFilter refuses a topic filter that no server may be sent.
func VerifyFilter(filter string) error {
	err := topic.ValidFilter(filter)
	if err == nil {
		_, _, _, err = topic.ParseShare(filter)
	}
	if err != nil {
		return &Error{Kind: KindOptions, What: "the topic filter " + quote(filter) + " is not valid: " + err.Error()}
	}
	return nil
}
