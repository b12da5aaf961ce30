package bench

import (
	"context"
	"strconv"
)

// RetainedShape is what is retained, and how often it is asked for.
type RetainedShape struct {
	Times int  // a client subscribes to all of them, one time after the other
	Keep  bool // leave the messages with the broker
}

// RetainedReport is what was retained, and how it was delivered. Rates and the broker's use are
// of all times together.
type RetainedReport struct {
	Messages    int     `json:"messages"`
	FillSeconds float64 `json:"fill_seconds"`
	FillPerSec  float64 `json:"acknowledged_per_second"`
	Times       int     `json:"times"`
	Delivered   uint64  `json:"delivered"`
	Seconds     float64 `json:"delivery_seconds"` // from SUBSCRIBE to the last message
	PerSec      float64 `json:"delivered_per_second"`
	Lost        uint64  `json:"acknowledged_and_lost"`
	CPUFill     float64 `json:"broker_cpu_fill_seconds,omitempty"`
}

// DefaultRetained is how many messages are retained.
const DefaultRetained = 10000

func (s *RetainedShape) verify(o *Options) error {
	switch {
	case s.Times < 0 || s.Times > 1000:
		return usage("%d times is out of range (0 to 1000)", s.Times)
	case o.Pace.Rate > 0:
		return usage("retained messages are published as fast as the window allows: leave out the rate")
	}
	return nil
}

// retainedOfLevel is how many devices are at one place.
const retainedOfLevel = 1000

// appendLevels ends the topic of retained message n: the place, the device, and what it says. That is
// what topics of devices look like, and to some brokers each level of a topic is a node of a tree.
func appendLevels(topic []byte, n int) []byte {
	topic = append(strconv.AppendInt(topic, int64(n/retainedOfLevel), 10), '/')
	return append(strconv.AppendInt(topic, int64(n%retainedOfLevel), 10), "/v"...)
}

// retained publishes messages that stay, and has somebody subscribe to all of them. They are
// published with QoS 1, so that it is known when the broker has them; the QoS of the run is that of
// the subscription.
func (r *run) retained() error {
	o, rep := r.opt, &RetainedReport{Messages: r.opt.Count, Times: r.opt.Retained.Times}
	subscribed := o.QoS
	o.QoS = 1
	r.cast()
	r.fan, r.track.streams, r.crowd.strict = 0, nil, true
	fill := func(phase string) error {
		r.enter(phase)
		r.silent = false
		r.ledger = newLedger(o.Count, o.Count)
		return r.fill()
	}
	if err := r.crowd.connect(r.pubs); err != nil {
		return err
	}
	r.result.retained = rep
	err := r.measure(func() error { return fill("publishing") })
	if rep.FillSeconds, rep.CPUFill = round(r.result.seconds), round(r.result.cpu); r.result.seconds > 0 {
		rep.FillPerSec = round(float64(r.total.acked) / r.result.seconds)
	}
	if err == nil && rep.Times > 0 {
		o.QoS = subscribed
		r.result.seconds, r.result.window = 0, counts{}
		err = r.measure(r.askForAll)
		o.QoS = 1
	}
	if !o.Retained.Keep {
		r.empty(fill)
	}
	o.QoS = subscribed
	r.leave()
	return err
}

// askForAll has one client after the other subscribe to all.
func (r *run) askForAll() error {
	o, rep := r.opt, r.result.retained
	r.enter("subscribing")
	for range o.Retained.Times {
		r.ledger.again()
		r.subs = r.again(r.subs)
		for _, p := range r.subs {
			p.filters = []string{o.Topic + "/#"}
		}
		before, began := r.total.delivered, r.after(0)
		r.total.lastDelivery = began
		if err := r.crowd.connect(r.subs); err != nil {
			return err
		}
		err := r.until(forever, func() bool {
			return r.ledger.due == 0 || r.now-r.total.lastDelivery > int64(o.Pace.Drain)
		})
		rep.Delivered += r.total.delivered - before
		rep.Seconds += float64(r.total.lastDelivery-began) / 1e9
		if err == nil { // else what has not come was not waited for
			rep.Lost += uint64(r.ledger.due)
		}
		r.crowd.disconnect(r.subs)
		if err != nil {
			return err
		}
	}
	if rep.Seconds > 0 {
		rep.PerSec = round(float64(rep.Delivered) / rep.Seconds)
	}
	rep.Seconds = round(rep.Seconds)
	return nil
}

// empty removes what is retained: an empty message in the place of each.
func (r *run) empty(fill func(string) error) {
	ctx := r.ctx
	r.ctx = context.WithoutCancel(ctx)
	defer func() { r.ctx = ctx }()
	sent, acked, whole := r.total.sent, r.total.acked, r.payload
	r.payload = nil
	_ = fill("removing")
	// They are not what the run was about.
	r.payload, r.total.sent, r.total.acked = whole, sent, acked
}
