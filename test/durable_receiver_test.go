package test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// receiver is a subscriber with a session that lasts. It writes down every delivery
// in the order of arrival, and acknowledges.
type receiver struct {
	link
	filters []string
	qos     mqtt.QoS
	from    []uint16 // senders whose messages it is to get
	away    <-chan struct{}
	begun   time.Time // of the whole load

	ready chan struct{} // closed when it has its subscriptions
	ended chan struct{} // closed when the last message of the load came
	once  sync.Once     // of ended

	// Owned by run; read when it has ended.
	subscribed bool
	open       map[uint16]bool // QoS 2 identifiers whose PUBREL has not come
	got        []arrival
	damaged    []string // what nobody sent
}

// endOf is the sender number of the message that ends the load. It is published when
// everything else is acknowledged, so whatever a session holds comes before it.
const endOf = 0xffff

// drained tells whether that has come.
func (r *receiver) drained() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// errAway is how serve says that it leaves until it is called.
var errAway = errors.New("away")

// run receives until the context is done. Where it is told to be away it goes when it
// has subscribed, and comes back when away is closed.
func (r *receiver) run(ctx context.Context) {
	r.live(ctx, func(present bool) (bool, error) {
		err := r.serve(present)
		if errors.Is(err, errAway) {
			r.cut()
			select {
			case <-r.away:
			case <-ctx.Done():
			}
		}
		return false, err
	})
}

func (r *receiver) serve(present bool) error {
	if !present {
		clear(r.open) // both sides begin anew [MQTT-4.1.0-1]
		r.subscribed = false
	}
	if !r.subscribed {
		r.subscribe()
	}
	for {
		p, err := r.next()
		if err != nil {
			return err
		}
		if err := r.handle(p); err != nil {
			return err
		}
	}
}

func (r *receiver) subscribe() {
	var list []mqtt.Subscription
	for _, f := range r.filters {
		list = append(list, mqtt.Subscription{Filter: f, QoS: r.qos})
	}
	r.out = (&mqtt.Subscribe{PacketID: 1, Filters: list}).Append(r.out, r.version, 0)
}

func (r *receiver) handle(p packet) error {
	switch p.Type {
	case mqtt.PUBLISH:
		var m mqtt.Publish
		if err := mqtt.DecodePublishClient(p.Body, p.Header, r.version, unlimited, &m); err != nil {
			return err
		}
		r.take(&m)
	case mqtt.PUBREL:
		a, err := r.ack(p)
		if err != nil {
			return err
		}
		reason := mqtt.Success
		if !r.open[a.PacketID] {
			reason = mqtt.PacketIdentifierNotFound // our PUBCOMP was lost, and this is its repetition
		}
		delete(r.open, a.PacketID)
		r.say(mqtt.PUBCOMP, a.PacketID, reason)
	case mqtt.SUBACK:
		return r.granted(p)
	case mqtt.DISCONNECT:
		return r.farewell(p)
	}
	return nil
}

func (r *receiver) granted(p packet) error {
	var ack mqtt.Suback
	if err := mqtt.DecodeSuback(p.Body, p.Header, r.version, unlimited, &ack); err != nil {
		return err
	}
	r.known = true
	for i, reason := range ack.Reasons {
		if reason != mqtt.ReasonCode(r.qos) {
			r.damaged = append(r.damaged, fmt.Sprintf("SUBACK of %s: %v", r.filters[i], reason))
		}
	}
	r.subscribed = true
	select {
	case <-r.ready:
	default:
		close(r.ready)
		if r.away != nil {
			return errAway
		}
	}
	return nil
}

// take writes a delivery down. At QoS 2 an identifier that is open brings the same
// message again, which is answered and is no delivery [MQTT-4.3.3-10].
func (r *receiver) take(m *mqtt.Publish) {
	switch m.QoS {
	case 1:
		r.say(mqtt.PUBACK, m.PacketID, mqtt.Success)
	case 2:
		r.say(mqtt.PUBREC, m.PacketID, mqtt.Success)
		if r.open[m.PacketID] {
			return
		}
		r.open[m.PacketID] = true
	}
	from, seq, ok := readPayload(m.Payload)
	switch {
	case !ok || m.QoS != r.qos:
		r.damaged = append(r.damaged, fmt.Sprintf("%s, QoS %d, %d bytes: %.16x", m.Topic, m.QoS, len(m.Payload), m.Payload))
	case from == endOf:
		r.once.Do(func() { close(r.ended) })
	default:
		r.got = append(r.got, arrival{from: from, seq: seq, at: stampOf(r.begun)})
	}
}
