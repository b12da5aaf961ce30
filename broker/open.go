package broker

import (
	"hash/maphash"
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// Arrival is an authenticated CONNECT that has reached its session's home.
type Arrival struct {
	Conn     ConnRef
	Connect  *mqtt.Connect
	By       auth.Principal
	Assigned bool   // the client id is ours
	AuthData []byte // for CONNACK, of a client with an Authentication Method

	// Later is called on the loop when an Open that answered with Opened.Later may be called
	// again, or with why it never may. It is called in the middle of something: it must not
	// call the home.
	Later func(refusal *mqtt.Error)

	admitted bool // however busy the node is by now
	examined bool // and found good, and its will has the name that it has here
	counted  bool // among the connects of its client
	rated    bool // against the rate of connects
	place    room // among the connected clients of its identity, while it has to wait
}

// Opened is the connection's session and what the loop must enforce for it.
type Opened struct {
	Ref       Ref
	KeepAlive time.Duration // close after one and a half times this without a packet [MQTT-3.1.2-22]
	Later     bool          // nothing else is said yet: Arrival.Later is called
}

// Open gives an arrival its session: a new one, or the one that waits for it,
// taken from an older connection if need be. It queues CONNACK and what a
// resumed session owes. A refusal has changed nothing, but that a session may have ended
// that a clean start asked to end; the caller sends it.
//
// Who is told that there is no session forgets what it knew of one. So it is told when an
// older one can never come back: when the log has heard of its end.
func (h *Home) Open(now time.Time, a *Arrival) (Opened, *mqtt.Error) {
	o, e := h.open(now, a)
	if e != nil {
		h.GiveUp(a)
	}
	return o, e
}

func (h *Home) open(now time.Time, a *Arrival) (Opened, *mqtt.Error) {
	set := h.b.Settings()
	key := keyOf(&a.By, a.Connect.ClientID)
	if e := h.mayConnect(now, a, key, set); e != nil {
		return Opened{}, e
	}
	if e := h.examine(now, a, set); e != nil {
		return Opened{}, e
	}
	old, present := h.lookup(key)
	if present && !old.s.Online() { // what fell due since the last tick comes first
		h.due(now, old, old.s.Tick(now), true)
		old, present = h.lookup(key)
	}
	if e := h.refuseNewcomer(a, set); e != nil {
		return Opened{}, e
	}
	if !present && h.b.sessions.Load()+h.b.unsaid.Load() >= int64(set.SessionsTotal) {
		return Opened{}, &mqtt.Error{Reason: mqtt.QuotaExceeded, Detail: "limits.sessions_total is reached"}
	}
	if !present && !a.admitted {
		if e := h.b.overdrawn(a.By.Identity, set); e != nil {
			return Opened{}, e
		}
	}
	if e := h.busy(present || a.admitted, a.Connect, set); e != nil {
		return Opened{}, e
	}
	a.admitted = true
	var war *limit.Bucket
	takesOver := present && old.s.Online()
	if takesOver {
		if war = old.fought(set.Takeovers); !war.Take(now, 1) {
			return Opened{}, &mqtt.Error{Reason: mqtt.ConnectionRateExceeded, Detail: "the session was taken over too often; do two clients have this client id?"}
		}
		h.inherit(a, old)
		h.takeOver(now, old, &a.By)
		old, present = h.lookup(key) // it may have ended with its connection
	}
	if present && a.Connect.CleanStart {
		h.due(now, old, old.s.End(), false) // [MQTT-3.1.2-4] [MQTT-3.1.4-4]
		present = false
	}
	if war != nil && !present {
		h.work.wars.put(now, key, war, set.Takeovers)
	}
	if e := h.takeRoom(key, a, takesOver, set); e != nil {
		return Opened{}, e
	}
	if !present {
		if later, e := h.awaitEnd(key, a); e != nil {
			return Opened{}, e
		} else if later {
			h.seat(key, a)
			return Opened{Later: true}, nil
		}
	}
	r := old      // [MQTT-3.1.2-5]
	if !present { // [MQTT-3.1.2-6]
		r = h.settle(key, a.By, set.Session)
		if war := h.work.wars.take(now, key); war != nil { // it has fought as often as the one before
			r.more().war = war
		}
		h.recall(r)
	}
	r.counted, a.place = a.place.counted, room{}
	return h.attach(now, r, a, present, set), nil
}

// examine judges what an arrival asks for, and gives its will the name that it has here.
func (h *Home) examine(now time.Time, a *Arrival, set *Settings) *mqtt.Error {
	if h.b.known != nil && !h.b.known(&a.By) {
		return &mqtt.Error{Reason: mqtt.BadUserNameOrPassword, Detail: "the user was deleted, or the token revoked, while it connected"}
	}
	if over(now, &a.By) {
		return &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: "the credential has expired while its client connected"}
	}
	if e := h.shutOut(now, a, set); e != nil {
		return e
	}
	if !set.connackFits(a) {
		return &mqtt.Error{Reason: mqtt.PacketTooLarge, Rule: "MQTT-3.1.2-24", Detail: "CONNACK is over the client's Maximum Packet Size"}
	}
	w := a.Connect.Will
	if w == nil {
		return nil
	}
	if !a.examined {
		if e := h.checkWill(&a.By, w, set.offer(a.By.Listener)); e != nil {
			return e
		}
	}
	want := auth.Access{Action: auth.Publish, Topic: []byte(w.Topic), QoS: w.QoS, Retain: w.Retain}
	d := h.b.authz.Policy().Decide(&a.By, want)
	h.compare(now, &a.By, askedPublish, want, d)
	if !d.Allow { // the will of A041 is refused here, and judged again when it fires
		h.count.Inc(metrics.PublishDenied)
		ref := h.b.log.Denied(now, &a.By, want, d.Rule)
		return &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: "the rules deny the will topic: ref " + ref.String()}
	}
	a.examined = true
	return nil
}

// hash is where a name is looked for. Clients choose theirs and do not know the seed.
func (h *Home) hash(key session.Key) uint64 { return maphash.Comparable(h.seed, key) }

func (h *Home) lookup(key session.Key) (*resident, bool) {
	slot, ok := h.byKey.Find(h.hash(key), func(slot uint32) bool { return h.slots[slot].key() == key })
	if !ok {
		return nil, false
	}
	return h.slots[slot], true
}

// takeOver closes the connection an online session has, so that the new one can
// have it [MQTT-3.1.4-3]. A will with a delay is not sent when the new
// connection resumes the session [MQTT-3.1.3-9]; one without is.
func (h *Home) takeOver(now time.Time, r *resident, by *auth.Principal) {
	h.count.Inc(metrics.SessionsTakenOver)
	h.b.log.Event(now, slog.LevelInfo, "session taken over by a newer connection", r.by.Identity+"\x00"+r.by.ClientID,
		slog.String("user", r.by.Username), slog.String("client_id", r.by.ClientID), slog.String("listener", by.Listener),
		slog.String("old_address", r.by.Addr.String()), slog.String("new_address", by.Addr.String()))
	h.disconnect(now, r, &mqtt.Disconnect{Reason: mqtt.SessionTakenOver}, CauseTakenOver)
}

// attach connects a to r and answers CONNACK 0x00 [MQTT-3.1.4-5] before anything
// else [MQTT-3.2.0-1].
func (h *Home) attach(now time.Time, r *resident, a *Arrival, present bool, set *Settings) Opened {
	c := a.Connect
	h.subject++
	a.By.ClientID = c.ClientID
	if r.by != a.By { // of the same identity, but rules may look at the address
		r.mistrust(now)
	}
	h.endTalk(now, r) // what it did before, it did from where it was
	r.by, r.conn, r.subject = a.By, a.Conn, h.subject
	h.talk(r).Connects++
	r.offer = set.offer(a.By.Listener)
	r.s.Limit(set.Session)
	if !present && h.kept() && set.expiry(c) > 0 {
		h.keep(r)
	}
	h.timers.Clear(r.ref.Slot)
	keepAlive := set.keepAlive(c)
	expiry := set.expiry(c)
	h.wire.Send(r.conn, session.Packet(connack(a, set, r.offer, present, keepAlive, expiry)))
	h.b.log.Admitted(now, &r.by, present)
	if c.Will != nil {
		c.Will.DelaySeconds = min(c.Will.DelaySeconds, set.WillDelayMax)
	}
	if present {
		h.count.Inc(metrics.SessionsResumed)
		h.judge(now, r) // what the session may receive is judged with who it is now (A045, A046, A053)
	}
	if r.log != nil {
		h.claim(now, r, c, !present, expiry)
		h.b.keptOnline.Add(1)
	}
	outs := r.s.Attach(now, session.Attachment{
		Version: c.Version, ReceiveMaximum: c.ReceiveMaximum, MaximumPacketSize: c.MaximumPacketSize,
		AliasMaximum: c.TopicAliasMaximum, ExpirySeconds: expiry, Will: c.Will,
	}, h.scratch.outs)
	r.terse = !c.RequestProblemInformation
	h.send(r, outs)
	h.watchCredential(now, r)
	h.resumePace(now, r)
	if r.stalled || r.s.PendingFull() || r.s.Unrouted() { // what an earlier connection published still waits
		h.wire.Pause(r.conn, time.Time{})
	}
	if !present {
		h.tell(now, r, EventCreated, nil)
	}
	h.tell(now, r, EventConnected, func(e *Event) {
		e.ProtoVer, e.KeepAlive, e.Expiry, e.Present = int(c.Version), int(keepAlive), int64(expiry), &present
	})
	h.autoSubscribe(now, r, set)
	h.wakeReplay(r)
	h.hunger(now, r)
	return Opened{Ref: r.ref, KeepAlive: time.Duration(keepAlive) * time.Second}
}

// keepAlive is the interval in force, seconds. A v5 client that asks for more
// than the maximum, or for none, is told; a v3 client cannot be told and has a
// maximum of its own.
func (s *Settings) keepAlive(c *mqtt.Connect) uint16 {
	most := s.KeepAliveMax
	if c.Version != mqtt.V5 {
		most = s.KeepAliveMaxV3
	}
	if c.KeepAlive == 0 || c.KeepAlive > most {
		return most
	}
	return c.KeepAlive // [MQTT-3.2.2-22]
}

// expiry is the Session Expiry Interval in force, seconds. A v3 session that is
// not clean lasts as long as any may.
func (s *Settings) expiry(c *mqtt.Connect) uint32 {
	if c.Version == mqtt.V5 {
		return min(c.SessionExpiry, s.SessionExpiryMax)
	}
	if c.CleanStart {
		return 0
	}
	return s.SessionExpiryMax
}

func connack(a *Arrival, set *Settings, offer *Offer, present bool, keepAlive uint16, expiry uint32) []byte {
	c := a.Connect
	p := mqtt.Connack{SessionPresent: present && !c.CleanStart} // [MQTT-3.2.2-2] [MQTT-3.2.2-3]
	if c.Version == mqtt.V5 {
		no := false
		p.ReceiveMaximum = uint16(min(set.Session.ReceiveMaximum, 65535))
		p.MaximumPacketSize = uint32(set.PacketBytes)
		p.TopicAliasMaximum = uint16(set.Session.AliasInMax)
		if c.RequestResponseInformation { // [MQTT-3.1.2-28]
			p.ResponseInformation = set.ResponseInformation
		}
		if expiry != c.SessionExpiry {
			p.SessionExpiry = &expiry
		}
		if keepAlive != c.KeepAlive {
			p.ServerKeepAlive = &keepAlive
		}
		if offer.MaxQoS < 2 {
			p.MaximumQoS = &offer.MaxQoS // [MQTT-3.2.2-9]
		}
		if !offer.RetainAvailable {
			p.RetainAvailable = &no
		}
		if !offer.WildcardAvailable {
			p.WildcardAvailable = &no
		}
		if !offer.SharedAvailable {
			p.SharedAvailable = &no
		}
		if c.HasAuthMethod { // [MQTT-4.12.0-5] [MQTT-4.12.0-6]
			p.AuthMethod, p.AuthData = c.AuthMethod, a.AuthData
		}
		if a.Assigned {
			p.AssignedClientID = c.ClientID // [MQTT-3.1.3-7]
		}
	}
	return p.Append(nil, c.Version, c.MaximumPacketSize)
}

// connackFits tells whether the client takes the CONNACK it will get. Nothing of
// that one may be left out, so who does not cannot be let in [MQTT-3.1.2-24].
func (s *Settings) connackFits(a *Arrival) bool {
	c := a.Connect
	return c.MaximumPacketSize == 0 ||
		len(connack(a, s, s.offer(a.By.Listener), false, s.keepAlive(c), s.expiry(c))) <= int(c.MaximumPacketSize)
}
