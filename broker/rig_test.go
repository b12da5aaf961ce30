package broker

import (
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
)

// desk is a broker without sockets, loops or time: homes whose wires are in the
// test's hands.
type desk struct {
	t       testing.TB
	b       *Broker
	homes   []*Home
	wires   []*fakeWire
	metrics *metrics.Registry
	now     time.Time
	bans    *bans.Bans
}

// fakeWire is the loop of one home.
type fakeWire struct {
	d      *desk
	sent   map[ConnRef][]session.Out
	drop   bool // release what is sent and remember nothing
	closed map[ConnRef]mqtt.ReasonCode
	paused map[ConnRef]bool
	until  map[ConnRef]time.Time // of the last Pause
	refuse bool                  // this home's data lane is full
	inbox  []*Batch
	full   map[ConnRef]bool // the socket takes no more
	asked  int              // turns asked for by Again
	broad  bool             // what is sent now is for many
	holds  map[ConnRef]Holding

	mu     sync.Mutex // guards everything below
	posted []func(now time.Time)
}

func (w *fakeWire) Send(c ConnRef, o session.Out) bool {
	if w.drop {
		o.Done()
		return true
	}
	w.sent[c] = append(w.sent[c], o)
	return !w.full[c]
}

func (w *fakeWire) Close(c ConnRef, say *mqtt.Disconnect, _ Cause) {
	w.closed[c] = 0
	if say != nil {
		w.closed[c] = say.Reason
	}
}

func (w *fakeWire) Resume(c ConnRef) { delete(w.paused, c) }
func (w *fakeWire) Again()           { w.asked++ }

// Broad implements Wire.
func (w *fakeWire) Broad(on bool) (was bool) { was, w.broad = w.broad, on; return was }

func (w *fakeWire) Pause(c ConnRef, until time.Time) {
	w.until[c] = until
	if w.paused[c] = true; !until.IsZero() && !until.After(w.d.now) {
		delete(w.paused, c)
	}
}
func (w *fakeWire) Holds(c ConnRef) Holding { return w.holds[c] }

func (w *fakeWire) Post(fn func(now time.Time)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posted = append(w.posted, fn)
}

// news runs what was posted, and tells whether there was anything.
func (w *fakeWire) news() bool {
	w.mu.Lock()
	posted := w.posted
	w.posted = nil
	w.mu.Unlock()
	for _, fn := range posted {
		fn(w.d.now)
	}
	return len(posted) > 0
}

func (w *fakeWire) Forward(home int, b *Batch) bool {
	to := w.d.wires[home]
	if to.refuse {
		return false
	}
	to.inbox = append(to.inbox, b)
	return true
}

func newDesk(t testing.TB, homes int, change ...func(*Settings)) *desk {
	return openDesk(t, homes, nil, retain.Options{MessagesMax: 10_000, BytesMax: 64 << 20}, change...)
}

// openDesk is newDesk with something that outlives it; nil: nothing.
func openDesk(t testing.TB, homes int, durable *Durable, retained retain.Options, change ...func(*Settings)) *desk {
	d := &desk{t: t, metrics: metrics.New(), now: time.Unix(1_700_000_000, 0)}
	d.bans, _ = bans.Open(nobodyKeeps{})
	set := &Settings{
		Session:       &session.Limits{InflightMax: 32, MqueueMessages: 1000, MqueueBytes: 16 << 20, AwaitingRelMax: 100, ReceiveMaximum: 32, AliasInMax: 32, AliasOutMax: 32},
		PacketLimits:  PacketLimits{PacketBytes: 1 << 20, ConnectPacketBytes: 16 << 10, UserProperties: 64, TopicLevels: 10, TopicBytes: 1024, ClientIDBytes: 256},
		Subscriptions: 1000, WildcardSubscriptions: 20, SessionsTotal: 10_000, KeepAliveMax: 300, KeepAliveMaxV3: 3600, SessionExpiryMax: 3600,
		WillDelayMax: 3600, MessageExpiryMax: 3600, Versions: []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5}, Offer: Offer{MaxQoS: 2, RetainAvailable: true, WildcardAvailable: true, SharedAvailable: true},
	}
	for _, c := range change {
		c(set)
	}
	policy, err := rules.Parse("rules.yaml", []byte("version: 1\nrules:\n  - {allow: all, topics: [\"open/#\"]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	d.b = New(Options{
		Homes: homes, Settings: set, Index: router.New(), Retained: retain.New(retained),
		Authorizer: auth.NewAuthorizer(policy), Log: audit.New(slog.New(slog.NewTextHandler(io.Discard, nil)), d.metrics.NewShard()),
		Durable: durable, Bans: d.bans,
	})
	for i := range homes {
		w := &fakeWire{d: d, sent: map[ConnRef][]session.Out{}, closed: map[ConnRef]mqtt.ReasonCode{}, paused: map[ConnRef]bool{}, until: map[ConnRef]time.Time{}, full: map[ConnRef]bool{}}
		d.wires = append(d.wires, w)
		d.homes = append(d.homes, d.b.NewHome(i, w, d.metrics.NewShard(), d.now))
	}
	return d
}

func principal(user string) auth.Principal {
	return auth.Principal{Identity: user, Username: user, ClientID: "c"}
}

// seat is a connected session.
type seat struct {
	d    *desk
	home int
	conn ConnRef
	ref  Ref
}

// sit connects user to a session that lives on home.
func (d *desk) sit(home int, user string, change ...func(*auth.Principal, *mqtt.Connect)) seat {
	d.t.Helper()
	s := seat{d: d, home: home, conn: ConnRef{Slot: uint32(len(d.homes[home].slots)) + 1, Gen: 7}}
	by, connect := principal(user), &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 1000, SessionExpiry: 100}
	for _, c := range change {
		c(&by, connect)
	}
	if _, e := d.b.Place(&by, connect.ClientID); e != nil {
		d.t.Fatal(e)
	}
	o, refusal := d.homes[home].Open(d.now, &Arrival{
		Conn:    s.conn,
		Connect: connect,
		By:      by,
	})
	if refusal != nil {
		d.t.Fatal(refusal)
	}
	s.ref = o.Ref
	s.take()
	return s
}

func (s seat) h() *Home     { return s.d.homes[s.home] }
func (s seat) w() *fakeWire { return s.d.wires[s.home] }

func (s seat) subscribe(filter string, q mqtt.QoS, change ...func(*mqtt.Subscription)) {
	sub := mqtt.Subscription{Filter: filter, QoS: q}
	for _, c := range change {
		c(&sub)
	}
	s.h().Subscribe(s.d.now, s.ref, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{sub}})
	s.take()
}

// ask subscribes and answers the reason code of SUBACK.
func (s seat) ask(filter string, q mqtt.QoS) mqtt.ReasonCode {
	s.d.t.Helper()
	s.take()
	s.h().Subscribe(s.d.now, s.ref, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: filter, QoS: q}}})
	for _, o := range s.take() {
		if o.Kind == session.OutPacket {
			return mqtt.ReasonCode(o.Bytes[len(o.Bytes)-1])
		}
	}
	s.d.t.Fatalf("no SUBACK for %s", filter)
	return 0
}

// rules replaces the rules; text is the list.
func (d *desk) rules(text string) {
	d.t.Helper()
	policy, err := rules.Parse("rules.yaml", []byte("version: 1\nrules:\n"+text+"\n"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.b.authz.Swap(policy)
}

func (s seat) publish(topic, payload string, q mqtt.QoS, id uint16, change ...func(*mqtt.Publish)) {
	p := &mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: q, PacketID: id}
	for _, c := range change {
		c(p)
	}
	s.h().Publish(s.d.now, s.ref, p)
}

// take is what was sent since the last call.
func (s seat) take() []session.Out {
	out := s.w().sent[s.conn]
	delete(s.w().sent, s.conn)
	return out
}

// payloads are those of the publishes in what was sent, which it gives back.
func (s seat) payloads() (got []string) {
	for _, o := range s.take() {
		if o.Kind == session.OutPublish {
			got = append(got, string(o.Frame.Payload()))
		}
		o.Done()
	}
	return got
}

// acks are the identifiers acknowledged, in order.
func (s seat) acks() (got []uint16) {
	for _, o := range s.take() {
		if o.Kind == session.OutAck {
			got = append(got, o.ID)
		}
		o.Done()
	}
	return got
}

// turn lets every home end its turn and read its inbox.
func (d *desk) turn() {
	for i, h := range d.homes {
		in := d.wires[i].inbox
		d.wires[i].inbox = nil
		h.CatchUp(d.now)
		for _, b := range in {
			h.Receive(d.now, b)
		}
	}
	for _, h := range d.homes {
		h.Turn(d.now)
	}
}
