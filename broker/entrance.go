package broker

import (
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/topic/template"
)

// Offer is what clients may use of the protocol.
type Offer struct {
	MaxQoS            mqtt.QoS
	RetainAvailable   bool
	WildcardAvailable bool
	SharedAvailable   bool
}

// Entrance is what one listener offers its clients, and where it puts them.
type Entrance struct {
	Offer
	// Mountpoint stands before every topic of a client, which does not see it.
	Mountpoint template.Template
	// Rates are those of its clients; nil: everybody's.
	Rates *EntranceRates
	// Newcomers is what holds for its clients; nil: what holds for everybody.
	Newcomers *Newcomers
}

// offer is what the clients of a listener may use.
func (s *Settings) offer(listener string) *Offer {
	if e := s.Entrances[listener]; e != nil {
		return &e.Offer
	}
	return &s.Offer
}

// Place names the session of a proven client and completes who it is: where its
// topics are depends on the listener it came by. A refusal names a client whose
// name cannot be part of a topic (A094).
func (b *Broker) Place(by *auth.Principal, clientID string) (session.Key, *mqtt.Error) {
	by.Mountpoint = ""
	if e := b.Settings().Entrances[by.Listener]; e != nil && !e.Mountpoint.Empty() {
		mount, err := e.Mountpoint.Append(nil, values(by))
		if err != nil {
			return session.Key{}, &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: "no mountpoint for this client: " + err.Error()}
		}
		by.Mountpoint = string(mount)
	}
	return keyOf(by, clientID), nil
}

// keyOf is the session of a client that has its place.
func keyOf(by *auth.Principal, clientID string) session.Key {
	return session.Key{Mountpoint: by.Mountpoint, Identity: by.Identity, ClientID: clientID}
}
