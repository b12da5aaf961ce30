package session

import "github.com/redoubtmq/redoubt/mqtt"

// Delivery is one message on its way to one session, with what its matching
// subscriptions made of it. Deliver takes a reference of its own to Frame when
// it keeps it.
type Delivery struct {
	Frame  *mqtt.Frame
	SubID  uint32   // Subscription Identifier of the one subscription that matched; 0: none
	SubIDs []uint32 // when several matched with identifiers: all of them; never changed
	QoS    mqtt.QoS // the lower of published and granted [MQTT-3.8.4-8]
	Retain bool     // what the subscriber's RETAIN flag will be
	Group  Group    // the shared subscription it came by
	Seq    uint64   // of the log; 0: the message is in memory only

	queuedAt int64 // unix milliseconds; set when it has to wait
}

// mqueue is what waits behind inflight or behind a slow socket. It is two
// rings, because order is promised per QoS only [MQTT-4.6.0-5] [MQTT-4.6.0-6], and because the
// rule for a full queue is "QoS 0 first": both ends are then constant time.
type mqueue struct {
	q0    ring[Delivery] // QoS 0
	q12   ring[Delivery] // QoS 1 and 2
	bytes int64          // of all frames in both
}

func (q *mqueue) len() int { return q.q0.len() + q.q12.len() }

// push keeps d and one reference to its frame, and drops the oldest unsent
// QoS 0, then the oldest unsent QoS 1 or 2, until it fits. It answers how many
// were dropped, d itself included when it alone is over the bytes, or when it is
// QoS 0 and only QoS 1 and 2 are left: they never make room for it.
func (q *mqueue) push(d Delivery, lim *Limits) (dropped uint64) {
	size := int64(d.Frame.Size())
	if size > lim.MqueueBytes || lim.MqueueMessages <= 0 || !lim.Account.room(size) {
		return 1
	}
	for q.len() > 0 && (q.len() >= lim.MqueueMessages || q.bytes+size > lim.MqueueBytes) {
		victim := &q.q12
		switch {
		case q.q0.len() > 0:
			victim = &q.q0
		case d.QoS == 0:
			return dropped + 1
		}
		q.take(victim, lim.Account).Frame.Release()
		dropped++
	}
	d.Frame.Hold()
	if d.QoS == 0 {
		q.q0.push(d)
	} else {
		q.q12.push(d)
	}
	q.bytes += size
	lim.Account.add(size)
	return dropped
}

// take pops the oldest of r; its reference goes to the caller.
func (q *mqueue) take(r *ring[Delivery], account *Account) Delivery {
	d := r.pop()
	q.bytes -= int64(d.Frame.Size())
	account.add(-int64(d.Frame.Size()))
	return d
}

func (q *mqueue) discard(account *Account) {
	for _, r := range []*ring[Delivery]{&q.q0, &q.q12} {
		for r.len() > 0 {
			q.take(r, account).Frame.Release()
		}
	}
}
