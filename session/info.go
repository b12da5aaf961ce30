package session

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Info is what an operator sees of a session: numbers and one topic name, copied
// at one moment. It holds no message.
type Info struct {
	Online        bool
	Congested     bool // the socket takes no more for now
	HasWill       bool
	WillTopic     string
	Version       mqtt.Version // of the connection, or of the last one
	ExpirySeconds uint32       // after the connection closes; ExpiryNever: for ever

	// Zero while online, and where the session never ends by itself.
	LeftAt, EndsAt time.Time

	Subscriptions int
	Flow          Flow
	Dropped       Drops
}

// Flow is how much is under way in a session and how much may be.
type Flow struct {
	Inflight, InflightMax       int // messages sent and not acknowledged
	Mqueue, MqueueMax           int // messages that wait
	MqueueBytes, MqueueBytesMax int64
	AwaitingRel, AwaitingRelMax int // QoS 2 messages received and not released
	Pending                     int // publishes received and not settled
}

// Info copies what an operator asks for. It allocates nothing.
func (s *Session) Info() Info {
	messages, bytes := s.Queued()
	i := Info{
		Online: s.conn.online, Congested: s.conn.congested, Version: s.conn.version,
		ExpirySeconds: s.expirySeconds, EndsAt: s.when().end,
		Subscriptions: s.Subscriptions(), Dropped: s.Dropped(),
		Flow: Flow{
			Inflight: s.Inflight(), InflightMax: s.lim.InflightMax,
			Mqueue: messages, MqueueMax: s.lim.MqueueMessages, MqueueBytes: bytes, MqueueBytesMax: s.lim.MqueueBytes,
			AwaitingRel: s.AwaitingRel(), AwaitingRelMax: s.lim.AwaitingRelMax, Pending: s.got().pending.len(),
		},
	}
	if s.conn.online {
		i.Flow.InflightMax = int(s.conn.window) // the client may want fewer
	}
	if !i.EndsAt.IsZero() {
		i.LeftAt = i.EndsAt.Add(-time.Duration(i.ExpirySeconds) * time.Second)
	}
	if w := s.will; w != nil {
		i.HasWill, i.WillTopic = true, w.Topic
	}
	return i
}

// Plus is the sum of both, reason by reason.
func (d Drops) Plus(o Drops) Drops {
	return Drops{QueueFull: d.QueueFull + o.QueueFull, Expired: d.Expired + o.Expired, TooLarge: d.TooLarge + o.TooLarge, Offline: d.Offline + o.Offline, Overload: d.Overload + o.Overload}
}
