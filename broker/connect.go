package broker

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/topic"
)

// Peer is where a CONNECT came from.
type Peer struct {
	Addr     netip.Addr
	Port     uint16 // 0 on a unix socket
	Listener string
	Chain    string // authentication chain of the listener
	// Certificate is what the client has shown and the listener accepted.
	Certificate auth.Certificate
	// Known: see auth.Request.
	Known bool
}

// Check judges a CONNECT by itself, before anybody is asked who it is, and gives
// a client that left it to us its identifier. It has no effect on anybody.
func (b *Broker) Check(c *mqtt.Connect) (assigned bool, refusal *mqtt.Error) {
	set := b.Settings()
	if !slices.Contains(set.Versions, c.Version) {
		return false, &mqtt.Error{Reason: mqtt.UnsupportedProtocolVersion, Rule: "MQTT-3.1.2-2", Detail: "protocol " + c.Version.String() + " is not among mqtt.versions"}
	}
	if n := len(c.ClientID); n > set.ClientIDBytes {
		return false, &mqtt.Error{Reason: mqtt.ClientIdentifierNotValid, Rule: "MQTT-3.1.3-8", Detail: fmt.Sprintf("client id of %d bytes, limits.client_id_bytes is %d", n, set.ClientIDBytes)}
	}
	if c.ClientID == "" {
		if c.Version == mqtt.V31 || (c.Version == mqtt.V311 && !c.CleanStart) {
			return false, &mqtt.Error{Reason: mqtt.ClientIdentifierNotValid, Rule: "MQTT-3.1.3-8", Detail: "empty client id"}
		}
		c.ClientID, assigned = newClientID(), true // [MQTT-3.1.3-6]
	}
	return assigned, nil
}

// checkWill judges a will by what the entrance offers, and gives its topic the
// name it has here: the rules judge that one, now and when it is sent (A041).
func (h *Home) checkWill(by *auth.Principal, w *mqtt.Will, offer *Offer) *mqtt.Error {
	switch {
	case w.QoS > offer.MaxQoS:
		return &mqtt.Error{Reason: mqtt.QoSNotSupported, Rule: "MQTT-3.2.2-12", Detail: "will QoS above mqtt.max_qos"}
	case w.Retain && !offer.RetainAvailable:
		return &mqtt.Error{Reason: mqtt.RetainNotSupported, Rule: "MQTT-3.2.2-13", Detail: "will asks to be retained, mqtt.retain is off"}
	case topic.ValidName([]byte(w.Topic)) != nil:
		return &mqtt.Error{Reason: mqtt.TopicNameInvalid, Detail: "will topic is not valid"}
	}
	if !h.b.Settings().Session.Account.Room(session.WillBytes(w)) {
		return &mqtt.Error{Reason: mqtt.QuotaExceeded, Detail: "limits.mqueue_bytes_total leaves no room for the will"}
	}
	delay, name, e := h.topicName(by, []byte(w.Topic))
	switch {
	case e != nil:
		return e
	case delay > 0:
		return &mqtt.Error{Reason: mqtt.TopicNameInvalid, Detail: "a will has Will Delay Interval, and no $delayed/"}
	}
	w.Topic = string(name)
	return nil
}

// topicFits tells whether a name or filter is within limits.topic_bytes and
// limits.topic_levels (A030, A031, A033).
func (s *Settings) topicFits(t []byte) bool {
	return len(t) <= s.TopicBytes && topic.Levels(t) <= s.TopicLevels
}

// SetChains replaces the chains, by Peer.Chain. Who is being asked already goes on with
// the one it began with.
func (b *Broker) SetChains(chains map[string]*auth.Chain) { b.authn.Store(&chains) }

// Chain is what Authenticate asks, by Peer.Chain; nil: there is none of that name.
func (b *Broker) Chain(name string) *auth.Chain { return (*b.authn.Load())[name] }

// Authenticate asks the listener's chain who c is. done is called exactly once,
// possibly before Authenticate returns, possibly from another goroutine. The request has its
// place in ask, which belongs to whoever is asked.
func (b *Broker) Authenticate(c *mqtt.Connect, from Peer, ask *auth.Request, done func(auth.Result)) {
	chain := (*b.authn.Load())[from.Chain]
	if chain == nil { // configuration refuses this; if it comes all the same, nobody gets in
		done(auth.Result{Outcome: auth.Deny, Reason: mqtt.NotAuthorized, Detail: "the listener names no authentication chain"})
		return
	}
	*ask = auth.Request{
		ClientID: c.ClientID, Username: c.Username, HasUsername: c.HasUsername,
		HasPassword: c.HasPassword, Password: secret.New(c.Password),
		Addr: from.Addr, Port: from.Port, Listener: from.Listener, Version: byte(c.Version), Certificate: from.Certificate, Known: from.Known,
	}
	chain.Authenticate(ask, done)
}

// Begin starts the exchange that a CONNECT with an Authentication Method asks for.
// Who names a method the listener's chain does not have is refused, and never
// asked for a password in its place [MQTT-4.12.0-1].
func (b *Broker) Begin(c *mqtt.Connect, from Peer) (auth.Exchange, *mqtt.Error) {
	if chain := (*b.authn.Load())[from.Chain]; chain != nil {
		e, ok := chain.Begin(c.AuthMethod, &auth.Request{
			ClientID: c.ClientID, Username: c.Username, HasUsername: c.HasUsername,
			Addr: from.Addr, Port: from.Port, Listener: from.Listener, Version: byte(c.Version), Certificate: from.Certificate, Known: from.Known,
		})
		if ok {
			return e, nil
		}
	}
	return nil, &mqtt.Error{Reason: mqtt.BadAuthenticationMethod, Rule: "MQTT-4.12.0-1", Detail: "the listener's chain has no such authentication method"}
}

// Reauthenticate replaces who the client of a session is by who it has proved to
// be now. It must be the same identity: the session is its own. What it may do is
// judged again at once.
func (h *Home) Reauthenticate(now time.Time, ref Ref, by auth.Principal) *mqtt.Error {
	r := h.at(ref)
	if r == nil {
		return &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: "the session has ended"}
	}
	key, e := h.b.Place(&by, r.by.ClientID)
	if e == nil && key != r.key() {
		e = &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: "re-authenticated as somebody else"}
	}
	if e == nil && (h.b.known != nil && !h.b.known(&by) || over(now, &by)) {
		e = &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: "the credential has ended while it was looked at"}
	}
	if e == nil {
		if e = h.refuseBanned(now, &by); e != nil {
			e.Reason = mqtt.AdministrativeAction // DISCONNECT has no code for a ban
		}
	}
	if e != nil {
		return e
	}
	before := tokenOf(&r.by)
	h.endTalk(now, r)
	h.subject++
	by.ClientID = key.ClientID
	r.by, r.subject = by, h.subject
	h.renewWill(now, r, before)
	h.watchCredential(now, r)
	r.mistrust(now)
	h.judge(now, r)
	return nil
}

// comeAgain is the hint for who is refused because of what goes on at the moment.
// It is the same for everybody.
const comeAgain = "not now; come again after a pause that doubles with every attempt"

// Refusal is the CONNACK that says no. v3 clients have five reasons only; for
// what has none, nothing is sent [MQTT-3.2.2-6 of 3.1.1]. ref is what the operator finds
// the reason by; 0: nothing was kept of it.
func Refusal(v mqtt.Version, reason mqtt.ReasonCode, max uint32, ref audit.Ref) []byte {
	if v != mqtt.V5 && (reason == mqtt.MalformedPacket || reason == mqtt.ProtocolError || reason == mqtt.PacketTooLarge || reason == mqtt.TopicNameInvalid) {
		return nil
	}
	c := mqtt.Connack{Reason: reason}
	switch reason {
	case mqtt.ServerBusy, mqtt.ServerUnavailable, mqtt.QuotaExceeded, mqtt.ConnectionRateExceeded: // for devices that all come at once
		c.ReasonString = comeAgain
	}
	if ref != 0 {
		if c.ReasonString != "" {
			c.ReasonString += "; "
		}
		c.ReasonString += "the operator finds the reason by ref " + ref.String()
	}
	b := c.Append(nil, v, max)
	if max != 0 && len(b) > int(max) { // [MQTT-3.1.2-24]
		return nil
	}
	return b
}
