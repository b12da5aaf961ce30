package conn

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestConnectMatrix is S-01 for CONNECT: each outcome there is (outcomesOfMatrix), in each
// version, at each kind of listener. Every CONNECT names the session of a client that is
// connected, wants a clean start, has a retained will, and has a PUBLISH, a delayed one, a
// SUBSCRIBE and a DISCONNECT behind it, in the same write or in one that comes while the
// verdict is waited for. Who is refused gets exactly the documented answer and is closed,
// the operator finds why by the reference in it, and nothing else has happened: nobody hears
// or keeps anything, no session has begun or ended, and the connected client is not disturbed.
func TestConnectMatrix(t *testing.T) {
	for i, d := range doorsOfMatrix {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			deleted := new(atomic.Bool)
			shut, err := bans.Open(noBans{})
			if err != nil {
				t.Fatal(err)
			}
			d.open(t, func(r *rig) {
				m := &connectMatrix{accessMatrix: accessMatrix{rig: r, heard: map[string]int{}, kept: map[string]int{}}, deleted: deleted, shut: shut, waits: make(chan func(), 1)}
				m.round(i, testkit.Seeds(9, 1))
			}, func(r *rig) {
				r.set.DelayMax, r.set.Newcomers.Most = 3600, 1000 // who comes is counted
				r.delayed = delay.NewAccount(delay.Limits{Messages: 10_000, Bytes: 4 << 20, OwnerMessages: 10_000, OwnerBytes: 4 << 20})
				r.bans, r.known = shut, func(*auth.Principal) bool { return !deleted.Load() }
			})
		})
	}
}

type noBans struct{ bans.Keeper }

func (noBans) Bans(func(string, []byte) error) error { return nil }

type noUsers struct{ builtin.Keeper }

func (noUsers) Users(func(string, []byte) error) error { return nil }
func (noUsers) Put(...builtin.Kept) error              { return nil }

// connectMatrix is one round at one door.
type connectMatrix struct {
	accessMatrix
	users        *builtin.Authenticator
	alice, other []byte       // passwords, the second of another user
	deleted      *atomic.Bool // nobody is known any more
	shut         *bans.Bans
	waits        chan func() // an answer that was given and is not passed on
	victim       *client
	n            int
	undo         []func()
}

// gate is an authenticator whose answers are passed on when the test says so.
type gate struct {
	auth.Authenticator
	waits chan func()
}

func (g gate) Authenticate(req *auth.Request, done func(auth.Result)) {
	g.Authenticator.Authenticate(req, func(r auth.Result) { g.waits <- func() { done(r) } })
}

// says is an authenticator that answers everybody the same, and once more if it is asked to.
type says []auth.Result

func (says) Name() string { return "says" }
func (s says) Authenticate(_ *auth.Request, done func(auth.Result)) {
	for _, r := range s {
		done(r)
	}
}

func (m *connectMatrix) round(door, stride int) {
	policy, err := auth.Compile([]auth.RuleSpec{
		{Publish: true, Topics: []auth.TopicSpec{{Filter: "denied/#"}}},
		{Allow: true, Publish: true, Subscribe: true, Topics: []auth.TopicSpec{{Filter: "#"}}},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.authz.Swap(policy)
	m.open()
	n := 0
	for i := range outcomesOfMatrix {
		for _, v := range versions {
			o := &outcomesOfMatrix[i]
			if o.only != nil && !slices.Contains(o.only, v) {
				continue
			}
			if n++; (n+n/3+door)%stride == 0 || i == 0 {
				m.cell(o, v)
			}
		}
	}
	m.unanswered()
	m.broker.SetChains(map[string]*auth.Chain{"default": auth.NewChain(passwords{})})
	m.tell("m/victim", "for the victim")
	m.gets(m.victim, "for the victim")
	m.judge()
}

// open makes the users, and lets in who watches and who must not be disturbed.
func (m *connectMatrix) open() {
	m.t.Helper()
	store, err := builtin.Open(noUsers{}, clock.System{})
	if err != nil {
		m.t.Fatal(err)
	}
	for name, password := range map[string]*[]byte{"alice": &m.alice, "bob": &m.other} {
		_, secret, err := store.AddGenerated(name)
		if err != nil {
			m.t.Fatal(err)
		}
		*password = secret.Reveal()
	}
	if m.users, err = builtin.New(store, clock.System{}, builtin.Options{Workers: 1}); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(m.users.Close)
	m.watch, m.boss = m.connect(mqtt.V5, "watch/w", patient), m.connect(mqtt.V5, "watch/b", patient)
	if rc := m.watch.subscribe("#", 0); rc != 0 {
		m.t.Fatalf("the watcher is granted %v", rc)
	}
	m.victim = m.connect(mqtt.V5, "alice/phone", patient, func(c *mqtt.Connect) {
		c.Will = &mqtt.Will{Topic: "m/victim-will", Payload: []byte("the victim is gone")}
	})
	if rc := m.victim.subscribe("m/victim", 0); rc != 0 {
		m.t.Fatalf("the victim is granted %v", rc)
	}
}

// attempt is a CONNECT that names the victim's session, and what comes behind it.
func (m *connectMatrix) attempt(v mqtt.Version, place string) (p *mqtt.Connect, behind []byte) {
	text := func(what string) []byte { return []byte(place + what) }
	p = &mqtt.Connect{
		Version: v, CleanStart: true, KeepAlive: 300, ClientID: "phone", Username: "alice", HasUsername: true, HasPassword: true, Password: m.alice,
		ReceiveMaximum: 100, RequestProblemInformation: true, Will: &mqtt.Will{Topic: place + "will", Payload: text("will"), QoS: 1, Retain: true},
	}
	behind = (&mqtt.Publish{Topic: text("behind"), Payload: text("behind"), QoS: 1, PacketID: 1, Retain: true}).Append(nil, v)
	behind = (&mqtt.Publish{Topic: []byte("$delayed/1/" + place + "delayed"), Payload: text("delayed")}).Append(behind, v)
	behind = (&mqtt.Subscribe{PacketID: 2, Filters: []mqtt.Subscription{{Filter: "#"}}}).Append(behind, v, 0)
	if v == mqtt.V5 {
		behind = (&mqtt.Disconnect{Reason: mqtt.DisconnectWithWill}).Append(behind, v, 0)
	}
	return p, behind
}

// authnCounted are the counters of which one says how a CONNECT was judged.
var authnCounted = []metrics.ID{
	metrics.AuthnSuccess, metrics.AuthnFailureCredentials, metrics.AuthnFailureNoCredentials, metrics.AuthnFailureMethod,
	metrics.AuthnFailureOther, metrics.AuthnUnavailableBusy, metrics.AuthnUnavailableTimeout, metrics.AuthnUnavailableBackend,
}

func (m *connectMatrix) counts() (all [8]int64) {
	for i, id := range authnCounted {
		all[i] = m.metrics.Value(id)
	}
	return all
}

// cell plays one outcome in one version.
func (m *connectMatrix) cell(o *outcome, v mqtt.Version) {
	m.t.Helper()
	m.n++
	place := fmt.Sprintf("m/%s/%v/", o.name, v)
	p, behind := m.attempt(v, place)
	if o.change != nil {
		o.change(m, p)
	}
	if o.set != nil {
		before, s := m.broker.Settings(), *m.broker.Settings()
		o.set(&s)
		m.broker.Apply(&s)
		defer func() {
			s := *before
			m.broker.Apply(&s)
		}()
	}
	if o.before != nil {
		o.before(m)
	}
	links := []auth.Link{{Authenticator: says{{}}}, {Authenticator: gate{m.users, m.waits}}}
	if o.links != nil {
		links = o.links(m)
	}
	chains := map[string]*auth.Chain{}
	if links != nil {
		chains["default"] = auth.NewChainOf(links...)
	}
	m.broker.SetChains(chains)
	sessions, subscriptions, counts := m.sessions(), m.metrics.Value(metrics.Subscriptions), m.counts()
	c := m.dial(v, place)
	hello := p.Append(nil, v, 0)
	if o.bytes != nil {
		hello = o.bytes(hello)
	}
	apart := !o.early && m.n%2 != 0
	if apart {
		c.send(hello)
	} else {
		c.send(append(hello, behind...))
	}
	if !o.early {
		pass := <-m.waits
		if apart {
			c.send(behind)
		}
		if o.meanwhile != nil {
			o.meanwhile(m)
		}
		pass()
	}
	m.answer(c, o, place)
	if o.want == mqtt.Success {
		return
	}
	want, as := counts, o.counts
	if as == 0 && !o.early {
		as = metrics.AuthnSuccess
	}
	if i := slices.Index(authnCounted, as); i >= 0 {
		want[i]++
	}
	if got := m.counts(); got != want {
		m.t.Errorf("%s: counted %v, want %v", place, got, want)
	}
	if s, n := m.sessions(), m.metrics.Value(metrics.Subscriptions); s != sessions || n != subscriptions {
		m.t.Errorf("%s: %d sessions and %d subscriptions, before %d and %d", place, s, n, sessions, subscriptions)
	}
	for _, undo := range m.undo {
		undo()
	}
	m.undo = nil
	m.victim.name = "the victim after " + place
	m.victim.pings()
}

// answer judges what the client is told.
func (m *connectMatrix) answer(c *client, o *outcome, place string) {
	m.t.Helper()
	five := c.v == mqtt.V5
	if o.want == mqtt.Success {
		m.letIn(c, place)
		return
	}
	if o.three == silence && !five || o.want == noPacket {
		c.closed(noPacket)
		return
	}
	got := c.expect(mqtt.CONNACK)
	if !five {
		if string(got.body) != string([]byte{0, o.three}) {
			m.t.Errorf("%s: CONNACK % x, want the code %d", place, got.body, o.three)
		}
		c.closed(noPacket)
		return
	}
	var ack mqtt.Connack
	if err := mqtt.DecodeConnack(got.body, got.h, c.v, mqtt.Limits{}, &ack); err != nil {
		m.t.Fatal(place, err)
	}
	if !reflect.DeepEqual(ack, mqtt.Connack{Reason: o.want, ReasonString: ack.ReasonString}) {
		m.t.Errorf("%s: CONNACK %+v, want %v and nothing else", place, ack, o.want)
	}
	if o.terse {
		c.closed(noPacket)
		return
	}
	_, text, _ := strings.Cut(ack.ReasonString, "ref ")
	ref, err := audit.ParseRef(text)
	if err != nil {
		m.t.Errorf("%s: told %q", place, ack.ReasonString)
	}
	why := m.broker.Log().Recent().List(audit.Wanted{Ref: ref}, 1)
	if len(why) != 1 || why[0].Reason != o.want || !strings.Contains(why[0].Why, o.why) {
		m.t.Errorf("%s: the operator finds %+v, want %q", place, why, o.why)
	}
	c.closed(noPacket)
}

// letIn is the other side: all that is refused elsewhere has its effect, or silence there
// would prove nothing.
func (m *connectMatrix) letIn(c *client, place string) {
	m.t.Helper()
	if got := c.expect(mqtt.CONNACK); got.body[0] != 0 || got.body[1] != 0 {
		m.t.Errorf("%s: CONNACK % x", place, got.body)
	}
	m.heard[place+"behind"], m.heard[place+"delayed"], m.heard[place+"will"] = 1, 1, 1
	m.kept[place+"behind"], m.kept[place+"will"] = 1, 1
	if rc := c.acked(mqtt.PUBACK, 1); rc != 0 {
		m.t.Errorf("%s: PUBACK %v", place, rc)
	}
	if got := c.expect(mqtt.SUBACK); got.body[len(got.body)-1] != 0 {
		m.t.Errorf("%s: SUBACK % x", place, got.body)
	}
	if c.v != mqtt.V5 {
		_ = c.nc.Close()
	}
	m.becomes("connections", 3, m.connections)
}

// unanswered is the outcome that never comes: the connect deadline is the answer.
func (m *connectMatrix) unanswered() {
	m.t.Helper()
	m.broker.SetChains(map[string]*auth.Chain{"default": auth.NewChain(silent{})})
	var all []*client
	sessions, late := m.sessions(), m.metrics.Value(metrics.AuthnUnavailableTimeout)
	for _, v := range versions {
		p, behind := m.attempt(v, fmt.Sprintf("m/silent/%v/", v))
		c := m.dial(v, fmt.Sprintf("never answered, %v", v))
		c.send(append(p.Append(nil, v, 0), behind...))
		all = append(all, c)
	}
	m.becomes("connections", int64(3+len(all)), m.connections)
	m.pass(11 * time.Second)
	for _, c := range all {
		c.closed(noPacket)
	}
	if n := m.metrics.Value(metrics.AuthnUnavailableTimeout) - late; n != int64(len(all)) || m.sessions() != sessions {
		m.t.Errorf("%d are counted as never answered, %d sessions of %d", n, m.sessions(), sessions)
	}
	m.victim.pings()
}
