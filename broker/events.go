package broker

import (
	"encoding/json"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// The broker tells what its clients do under $events/, to whoever the rules let
// subscribe there. While nobody does, nothing is made.
const (
	EventConnected    = "$events/client/connected"
	EventDisconnected = "$events/client/disconnected"
	EventCreated      = "$events/session/created"
	EventEnded        = "$events/session/terminated"
	EventSubscribed   = "$events/session/subscribed"
	EventUnsubscribed = "$events/session/unsubscribed"
)

// Event is the payload of an event, as JSON. What a kind of event does not have is
// left out.
type Event struct {
	Event     string `json:"event"`     // the topic
	Timestamp int64  `json:"timestamp"` // Unix milliseconds
	ClientID  string `json:"clientid"`
	Username  string `json:"username,omitempty"`
	Identity  string `json:"identity"`
	Peerhost  string `json:"peerhost,omitempty"`
	Listener  string `json:"listener,omitempty"`
	Reason    string `json:"reason,omitempty"` // why a connection ended
	ProtoVer  int    `json:"proto_ver,omitempty"`
	KeepAlive int    `json:"keepalive,omitempty"`       // seconds, in force
	Expiry    int64  `json:"expiry_interval,omitempty"` // of the session, seconds
	Present   *bool  `json:"session_present,omitempty"`
	Topic     string `json:"topic,omitempty"` // the filter, as the client wrote it
	QoS       *int   `json:"qos,omitempty"`
}

// heard counts a subscription of somebody that came or went, and those under $events/.
func (b *Broker) heard(identity string, sub *session.Sub, n int64) {
	b.subscribed.Add(n)
	b.heardOf.Add(b.heardOf.Place(identity), n)
	if underEvents(sub.Real) {
		b.hearers.Add(n)
	}
}

// tell publishes what r did. fill adds what only this event has.
func (h *Home) tell(now time.Time, r *resident, event string, fill func(*Event)) {
	if h.b.hearers.Load() == 0 || !h.b.Settings().Events {
		return
	}
	e := Event{
		Event: event, Timestamp: now.UnixMilli(), ClientID: r.by.ClientID, Username: r.by.Username,
		Identity: r.by.Identity, Listener: r.by.Listener,
	}
	if r.by.Addr.IsValid() {
		e.Peerhost = r.by.Addr.String()
	}
	if fill != nil {
		fill(&e)
	}
	payload, err := json.Marshal(e)
	if err != nil {
		panic("BUG: broker: an event that is no JSON: " + err.Error())
	}
	h.announce(now, event, payload, false)
}

// announce publishes for the broker itself, at QoS 1 so that a subscriber may keep
// it. It asks nobody and waits for nothing.
func (h *Home) announce(now time.Time, name string, payload []byte, retain bool) {
	f := mqtt.NewFrame([]byte(name), nil, payload)
	f.QoS, f.Retain, f.CreatedAt = 1, retain, now.UnixMilli()
	h.route(now, author{}, publication{name: f.Topic(), frame: f, qos: f.QoS, retain: retain})
	f.Release()
}
