package conn

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestAuthMatrix is S-01 for AUTH: the packet in each state a connection can be in, right
// and wrong, in each version, at each kind of listener. Before CONNECT was accepted whoever
// does wrong gets CONNACK with the reason and is closed, and what he sent behind it, and his
// will, have no effect; afterwards he gets DISCONNECT, his will is sent, because the
// connection has ended badly, and what he sent behind it is not looked at. While a client
// proves itself anew its packets are judged by what it was; who fails is out.
func TestAuthMatrix(t *testing.T) {
	for i, d := range doorsOfMatrix {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			shut, err := bans.Open(noBans{})
			if err != nil {
				t.Fatal(err)
			}
			d.open(t, func(r *rig) {
				m := &authMatrix{accessMatrix: accessMatrix{rig: r, heard: map[string]int{}, kept: map[string]int{}}, shut: shut, waits: make(chan func(), 1)}
				m.round(i, testkit.Seeds(5, 1))
			}, func(r *rig) { r.bans = shut })
		})
	}
}

// authMatrix is one round at one door.
type authMatrix struct {
	accessMatrix
	shut   *bans.Bans
	waits  chan func()
	victim *client
}

// moody is the mechanism of this package's tests with moods: data that is one of them gets
// its answer.
type moody struct {
	challenge
	waits chan func() // answers to "slowly NAME" wait here
}

func (m moody) Begin(*auth.Request) auth.Exchange { return &moods{waits: m.waits} }

type moods struct {
	challenged
	waits chan func()
}

func (m *moods) Step(data []byte, done func(auth.Result)) {
	switch string(data) {
	case "down":
		done(auth.Result{Outcome: auth.Unavailable, Detail: "the back end is down"})
	case "busy":
		done(auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerBusy, Detail: "too many wait"})
	case "nobody":
		done(auth.Result{Outcome: auth.Allow, Data: []byte("welcome")})
	case "nonsense":
		done(auth.Result{Outcome: 99, Data: []byte("welcome")})
	case "not mine":
		done(auth.Result{})
	case "over":
		done(auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: "alice", Username: "alice", Claims: &auth.Claims{Until: time.Unix(1, 0)}}})
	case "slowly no":
		m.waits <- func() { done(auth.Result{Outcome: auth.Deny, Detail: "no"}) }
	case "slowly down":
		m.waits <- func() { done(auth.Result{Outcome: auth.Unavailable, Detail: "the back end is down"}) }
	case "slowly":
		m.waits <- func() { m.challenged.Step([]byte("pw-alice"), done) }
	case "never":
	default:
		m.challenged.Step(data, done)
	}
}

// step is an AUTH, and what becomes of it.
type step struct {
	name   string
	reason mqtt.ReasonCode
	method string // empty: that of CONNECT
	data   string
	raw    string // in its place
	then   string // data of a second AUTH, once the first has been answered with a question

	meanwhile func(*authMatrix) // between the two
	want      mqtt.ReasonCode   // in CONNACK, AUTH or DISCONNECT
}

const (
	goOn  = mqtt.ContinueAuthentication
	again = mqtt.ReAuthenticate
)

// beforeConnack are steps after the client was asked for its password.
var beforeConnack = []step{
	{name: "right", reason: goOn, data: "pw-alice"},
	{name: "wrong", reason: goOn, data: "pw-bob", want: mqtt.BadUserNameOrPassword},
	{name: "empty", reason: goOn, want: mqtt.BadUserNameOrPassword},
	{name: "down", reason: goOn, data: "down", want: mqtt.ServerUnavailable},
	{name: "busy", reason: goOn, data: "busy", want: mqtt.ServerBusy},
	{name: "nobody", reason: goOn, data: "nobody", want: mqtt.NotAuthorized},
	{name: "nonsense", reason: goOn, data: "nonsense", want: mqtt.NotAuthorized},
	{name: "not-mine", reason: goOn, data: "not mine", want: mqtt.NotAuthorized},
	{name: "over", reason: goOn, data: "over", want: mqtt.NotAuthorized},
	{name: "banned", reason: goOn, data: "pw-alice", meanwhile: bansAlice, want: mqtt.Banned},
	{name: "other-method", reason: goOn, method: "OTHER", data: "pw-alice", want: mqtt.ProtocolError},
	{name: "again", reason: again, data: "pw-alice", want: mqtt.ProtocolError},
	{name: "success", reason: mqtt.Success, data: "pw-alice", want: mqtt.ProtocolError},
	{name: "no-method", raw: "\xf0\x02\x18\x00", want: mqtt.ProtocolError},
	{name: "no-body", raw: "\xf0\x00", want: mqtt.ProtocolError},
	{name: "flags", raw: "\xf1\x00", want: mqtt.MalformedPacket},
	{name: "cut", raw: "\xf0\x05\x18\x09\x15\x00\x09", want: mqtt.MalformedPacket},
	{name: "large", raw: "\xf0\x81\x80\x01", want: mqtt.PacketTooLarge},
}

// ofAClient are steps of a client that is in, and has a method.
var ofAClient = []step{
	{name: "right", reason: again, data: "alice", then: "pw-alice"},
	{name: "wrong", reason: again, data: "alice", then: "pw-bob", want: mqtt.NotAuthorized},
	{name: "somebody-else", reason: again, data: "bob", then: "pw-bob", want: mqtt.NotAuthorized},
	{name: "wrong-at-once", reason: again, want: mqtt.NotAuthorized},
	{name: "down", reason: again, data: "down", want: mqtt.ServerBusy},
	{name: "down-then", reason: again, data: "alice", then: "down", want: mqtt.ServerBusy},
	{name: "busy", reason: again, data: "busy", want: mqtt.ServerBusy},
	{name: "nobody", reason: again, data: "nobody", want: mqtt.NotAuthorized},
	{name: "nonsense", reason: again, data: "nonsense", want: mqtt.NotAuthorized},
	{name: "over", reason: again, data: "over", want: mqtt.NotAuthorized},
	{name: "banned", reason: again, data: "alice", meanwhile: bansAlice, then: "pw-alice", want: mqtt.AdministrativeAction},
	{name: "slowly-no", reason: again, data: "slowly no", want: mqtt.NotAuthorized},
	{name: "slowly-down", reason: again, data: "slowly down", want: mqtt.ServerBusy},
	{name: "other-method", reason: again, method: "OTHER", data: "alice", want: mqtt.ProtocolError},
	{name: "not-begun", reason: goOn, data: "pw-alice", want: mqtt.ProtocolError},
	{name: "success", reason: mqtt.Success, data: "pw-alice", want: mqtt.ProtocolError},
	{name: "no-method", raw: "\xf0\x02\x19\x00", want: mqtt.ProtocolError},
	{name: "no-body", raw: "\xf0\x00", want: mqtt.ProtocolError},
	{name: "flags", raw: "\xf1\x00", want: mqtt.MalformedPacket},
	{name: "twice", reason: again, raw: "twice", want: mqtt.ProtocolError},
	{name: "before-the-answer", reason: goOn, raw: "twice", want: mqtt.ProtocolError},
	{name: "no-mechanism", reason: again, data: "alice", raw: "no mechanism", want: mqtt.NotAuthorized},
}

// withoutMethod are steps of a client that is in, and has none.
var withoutMethod = []step{
	{name: "again", reason: again, data: "alice", want: mqtt.ProtocolError},
	{name: "go-on", reason: goOn, data: "pw-alice", want: mqtt.ProtocolError},
	{name: "no-body", raw: "\xf0\x00", want: mqtt.ProtocolError},
}

func bansAlice(m *authMatrix) {
	ban := &bans.Ban{As: bans.Username, Who: "alice"}
	if err := ban.Check(); err != nil {
		m.t.Fatal(err)
	}
	m.shut.SetFile([]*bans.Ban{ban})
}

func (s *step) bytes() []byte {
	if s.raw != "" {
		return []byte(s.raw)
	}
	a := mqtt.Auth{Reason: s.reason, Method: "CHALLENGE", Data: []byte(s.data)}
	if s.method != "" {
		a.Method = s.method
	}
	if s.data == "" {
		a.Data = nil
	}
	return a.Append(nil, mqtt.V5, 0)
}

func (m *authMatrix) chains() {
	m.broker.SetChains(map[string]*auth.Chain{"default": auth.NewChain(passwords{}, moody{waits: m.waits})})
}

func (m *authMatrix) round(door, stride int) {
	policy, err := auth.Compile([]auth.RuleSpec{{Allow: true, Publish: true, Subscribe: true, Topics: []auth.TopicSpec{{Filter: "#"}}}})
	if err != nil {
		m.t.Fatal(err)
	}
	m.authz.Swap(policy)
	m.chains()
	m.watch, m.boss = m.connect(mqtt.V5, "watch/w", patient), m.connect(mqtt.V5, "watch/b", patient)
	if rc := m.watch.subscribe("#", 0); rc != 0 {
		m.t.Fatalf("the watcher is granted %v", rc)
	}
	m.victim = m.connect(mqtt.V5, "alice/phone", patient)
	n := 0
	each := func(steps []step, play func(*step)) {
		for i := range steps {
			if n++; (n+n/3+door)%stride == 0 || i == 0 {
				play(&steps[i])
				m.shut.SetFile(nil)
				m.chains()
				m.becomes("connections after "+steps[i].name, 3, m.connections)
				m.becomes("sessions after "+steps[i].name, 3, m.sessions)
				m.victim.name = "the victim after " + steps[i].name
				m.victim.pings()
			}
		}
	}
	each(beforeConnack, m.exchanging)
	each(ofAClient, m.reauthenticating)
	each(withoutMethod, m.without)
	for _, v := range versions {
		m.first(v)
		if v != mqtt.V5 {
			m.old(v)
		}
	}
	m.neverAnswered()
	m.judge()
}

// willed has a retained will, and a session that does not outlive the connection.
func willed(place string) func(*mqtt.Connect) {
	return func(c *mqtt.Connect) {
		c.KeepAlive, c.Will = 300, &mqtt.Will{Topic: place + "will", Payload: []byte(place + "will"), QoS: 1, Retain: true}
	}
}

func behindAuth(v mqtt.Version, place string) []byte {
	b := (&mqtt.Publish{Topic: []byte(place + "behind"), Payload: []byte(place + "behind"), QoS: 1, PacketID: 1, Retain: true}).Append(nil, v)
	return (&mqtt.Subscribe{PacketID: 2, Filters: []mqtt.Subscription{{Filter: "#"}}}).Append(b, v, 0)
}

// expected notes what is heard and retained.
func (m *authMatrix) expected(place string, what ...string) {
	for _, w := range what {
		m.heard[place+w], m.kept[place+w] = 1, 1
	}
}

// exchanging plays a step before CONNECT is accepted. It names the session of the victim,
// who is not disturbed by who is refused.
func (m *authMatrix) exchanging(s *step) {
	m.t.Helper()
	place, id := "m/before-"+s.name+"/", "phone"
	if s.want == mqtt.Success {
		id = "own"
	}
	c := m.begin(id, "CHALLENGE", "alice", willed(place))
	c.name = place
	c.asked(goOn, "password of alice")
	if s.meanwhile != nil {
		s.meanwhile(m)
	}
	c.send(append(s.bytes(), behindAuth(mqtt.V5, place)...))
	got := c.connack(s.want)
	if s.want != mqtt.Success {
		if got.SessionPresent || got.AuthMethod != "" || got.AuthData != nil {
			m.t.Errorf("%s: CONNACK %+v", place, got)
		}
		c.closed(noPacket)
		return
	}
	if rc := c.acked(mqtt.PUBACK, 1); rc != 0 {
		m.t.Errorf("%s: PUBACK %v", place, rc)
	}
	_ = c.nc.Close()
	m.expected(place, "behind", "will")
}

// reauthenticating plays a step of a client that is in.
func (m *authMatrix) reauthenticating(s *step) {
	m.t.Helper()
	place := "m/client-" + s.name + "/"
	c := m.begin("own", "CHALLENGE", "alice", willed(place))
	c.name = place
	c.asked(goOn, "password of alice")
	c.auth(goOn, "CHALLENGE", "pw-alice")
	c.connack(mqtt.Success)
	if s.meanwhile == nil { // nobody speaks for the banned
		m.expected(place, "will")
	}
	successes := m.metrics.Value(metrics.AuthnSuccess)
	switch {
	case s.raw == "twice": // before the first was answered
		c.send((&step{reason: again, data: "slowly"}).bytes())
		pass := <-m.waits
		c.send(append((&step{reason: s.reason, data: "alice"}).bytes(), behindAuth(mqtt.V5, place)...))
		c.closed(s.want)
		pass() // of nobody any more
		return
	case s.raw == "no mechanism": // it was taken out of the chain
		m.broker.SetChains(map[string]*auth.Chain{"default": auth.NewChain(passwords{})})
		c.auth(again, "CHALLENGE", "alice")
		c.closed(s.want)
		return
	case s.then != "":
		c.send(s.bytes())
		c.asked(goOn, "password of "+s.data)
		if s.meanwhile != nil {
			s.meanwhile(m)
		}
		c.auth(goOn, "CHALLENGE", s.then)
	case strings.HasPrefix(s.data, "slowly"): // what it sends meanwhile is of who it was
		c.send(append(s.bytes(), behindAuth(mqtt.V5, place)...))
		pass := <-m.waits
		if rc := c.acked(mqtt.PUBACK, 1); rc != 0 {
			m.t.Errorf("%s: PUBACK %v", place, rc)
		}
		m.expected(place, "behind")
		c.expect(mqtt.SUBACK)
		pass()
		m.drained(c, s.want)
		return
	case s.want == mqtt.ProtocolError || s.want == mqtt.MalformedPacket:
		c.send(append(s.bytes(), behindAuth(mqtt.V5, place)...))
	default:
		c.send(s.bytes())
	}
	if s.want != mqtt.Success {
		c.closed(s.want)
		if n := m.metrics.Value(metrics.AuthnSuccess); n != successes {
			m.t.Errorf("%s: counted as a success", place)
		}
		return
	}
	c.asked(mqtt.Success, "it is me")
	c.pings()
	_ = c.nc.Close()
}

// drained is closed for a client that is subscribed to everything.
func (m *authMatrix) drained(c *client, want mqtt.ReasonCode) {
	m.t.Helper()
	for {
		p, ok := c.wanted()
		if ok && p.h.Type == mqtt.PUBLISH {
			continue
		}
		if !ok || p.h.Type != mqtt.DISCONNECT || len(p.body) == 0 || mqtt.ReasonCode(p.body[0]) != want {
			m.t.Errorf("%s: got %v % x, want DISCONNECT %v", c.name, p.h.Type, p.body, want)
		}
		c.closed(noPacket)
		return
	}
}

// without plays a step of a client that is in without a method.
func (m *authMatrix) without(s *step) {
	m.t.Helper()
	place := "m/without-" + s.name + "/"
	c := m.connect(mqtt.V5, "alice/own", willed(place))
	c.name = place
	c.send(append(s.bytes(), behindAuth(mqtt.V5, place)...))
	c.closed(s.want)
	m.expected(place, "will")
}

// first is AUTH in place of CONNECT.
func (m *authMatrix) first(v mqtt.Version) {
	m.t.Helper()
	c := m.dial(v, fmt.Sprintf("AUTH first, %v", v))
	hello := (&mqtt.Connect{Version: v, CleanStart: true, ClientID: "phone", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), ReceiveMaximum: 1}).Append(nil, v, 0)
	c.send(append(append(beforeConnack[0].bytes(), hello...), behindAuth(v, "m/first/")...))
	c.closed(noPacket)
	m.victim.pings()
}

// old is AUTH from a client of a version that has no such packet.
func (m *authMatrix) old(v mqtt.Version) {
	m.t.Helper()
	for _, s := range []step{beforeConnack[0], ofAClient[0], {raw: "\xf0\x00"}} {
		place := fmt.Sprintf("m/old-%v-%d-%d/", v, s.reason, len(s.raw))
		c := m.connect(v, "alice/own", willed(place))
		c.send(append(s.bytes(), behindAuth(v, place)...))
		c.closed(noPacket)
		m.expected(place, "will")
	}
}

// neverAnswered is a step whose answer does not come: before CONNACK the connect deadline is
// over it, and a client that is in stays what it is.
func (m *authMatrix) neverAnswered() {
	m.t.Helper()
	in := m.begin("own", "CHALLENGE", "alice", willed("m/in-never/"))
	in.asked(goOn, "password of alice")
	in.auth(goOn, "CHALLENGE", "pw-alice")
	in.connack(mqtt.Success)
	in.auth(again, "CHALLENGE", "never")
	out := m.begin("phone", "CHALLENGE", "never", willed("m/out-never/"))
	half := m.begin("phone", "CHALLENGE", "alice", willed("m/half-never/"))
	half.asked(goOn, "password of alice")
	m.pass(11 * time.Second)
	out.closed(noPacket)
	half.closed(noPacket)
	in.pings()
	in.send((&mqtt.Disconnect{}).Append(nil, mqtt.V5, 0))
	in.closed(noPacket)
	m.victim.pings()
}
