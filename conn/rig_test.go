package conn

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
)

// rig is a whole broker on an engine. With the portable engine it lives in a
// bubble of synctest: sockets are pipes, time passes only when everybody waits,
// and every goroutine must have ended when the test does. With the engine of this
// system sockets are real, and time is a clock that only the test moves.
type rig struct {
	t       *testing.T
	server  *Server
	broker  *broker.Broker
	authz   *auth.Authorizer
	metrics *metrics.Registry
	log     *lockedBuffer
	set     broker.Settings
	sess    session.Limits
	web     *listener.WebSocket // nil: packets travel as they are
	policy  string              // empty: policyText
	stores
	ended bool
	proxy func() net.Conn // makes connections; nil: nothing special

	entrance  *listener.Listener
	strangers int64 // who may be inside without having said who he is; 0: 5000

	pipes *pipes        // portable engine
	quic  *quicRig      // portable engine, QUIC
	real  *realSockets  // engine of this system
	clock *clock.Manual // engine of this system
	heard atomic.Int64  // packets that clients have read
}

// places are as in Options.
type places struct{ spare, short bool }

// stores are what a rig's broker keeps more than sessions in; nil: none.
type stores struct {
	places
	durable *broker.Durable
	delayed *delay.Account
	bans    *bans.Bans
	known   func(*auth.Principal) bool // broker.Options.StillKnown
}

// policyText lets everybody use open/#, keeps secret/# closed below it, and gives
// each user a topic of its own.
const policyText = `
version: 1
rules:
  - deny: subscribe
    topics: ["open/secret/#"]
  - allow: all
    topics: ["open/#", "own/${username}/#"]
`

// ways are how clients come to a broker besides plainly on each engine.
var ways = []string{"native TLS", "portable WebSocket", "native WebSocket", "native WebSocket over TLS", "QUIC"}

// play runs f against a broker with two loops on each engine, and in all ways. Under the race
// detector, which makes each some ten times as dear, a test plays one of the ways, in place of
// the plain one of the same engine; `make test` has a pass of its own in which all of them play all.
func play(t *testing.T, f func(r *rig), change ...func(*rig)) {
	playWays(t, f, ways, change...)
}

// playTCP is play without QUIC.
func playTCP(t *testing.T, f func(r *rig), change ...func(*rig)) {
	playWays(t, f, ways[:len(ways)-1], change...)
}

func playWays(t *testing.T, f func(r *rig), of []string, change ...func(*rig)) {
	bubble := func(make func(*testing.T, ...func(*rig)) *rig, change ...func(*rig)) func(*testing.T) {
		return func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(make(t, change...)) })
		}
	}
	plain := []string{"portable", "native"}
	if testkit.Watched() && !strings.Contains(t.Name(), "/") {
		of = of[crc32.ChecksumIEEE([]byte(t.Name()))%uint32(len(of)):][:1]
		if plain = plain[:1]; !strings.HasPrefix(of[0], "native") {
			plain = []string{"native"}
		}
	}
	framed := append(change[:len(change):len(change)], overWebSocket)
	for _, way := range slices.Concat(plain, of) {
		switch way {
		case "portable":
			t.Run(way, bubble(newRig, change...))
		case "native":
			t.Run(way, func(t *testing.T) { f(newRealRig(t, nil, change...)) })
		case "native TLS":
			t.Run(way, func(t *testing.T) { f(newRealRig(t, testCertificate(t), change...)) })
		case "portable WebSocket":
			t.Run(way, bubble(newRig, framed...))
		case "native WebSocket":
			t.Run(way, func(t *testing.T) { f(newRealRig(t, nil, framed...)) })
		case "native WebSocket over TLS":
			t.Run(way, func(t *testing.T) { f(newRealRig(t, testCertificate(t), framed...)) })
		case "QUIC":
			t.Run(way, bubble(newQUICRig, change...))
		}
	}
}

// newRig is the portable engine in a bubble.
func newRig(t *testing.T, change ...func(*rig)) *rig {
	r := &rig{t: t, pipes: newPipes()}
	r.start(NewPortable, clock.System{}, r.pipes, nil, change)
	return r
}

// start puts the broker together and lets clients in at in.
func (r *rig) start(engine func(*Server) Engine, clk clock.Clock, in net.Listener, secure *tls.Config, change []func(*rig)) {
	t := r.t
	r.metrics, r.log = metrics.New(), &lockedBuffer{}
	r.sess = session.Limits{InflightMax: 32, MqueueMessages: 1000, MqueueBytes: 16 << 20, AwaitingRelMax: 100, ReceiveMaximum: 32, AliasInMax: 32, AliasOutMax: 32}
	r.set = broker.Settings{
		PacketLimits: broker.PacketLimits{PacketBytes: 1 << 20, ConnectPacketBytes: 16 << 10, UserProperties: 64, TopicLevels: 10, TopicBytes: 1024, ClientIDBytes: 256},
		Session:      &r.sess, Subscriptions: 100, WildcardSubscriptions: 20, SessionsTotal: 10_000, KeepAliveMax: 300, KeepAliveMaxV3: 3600,
		SessionExpiryMax: 3600, WillDelayMax: 3600, MessageExpiryMax: 3600, Versions: []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5},
		Offer: broker.Offer{MaxQoS: 2, RetainAvailable: true, WildcardAvailable: true, SharedAvailable: true}, Rates: broker.Rates{PublishRate: broker.PublishRate{Burst: 2 * time.Second}},
	}
	for _, c := range change {
		c(r)
	}
	policy, err := rules.Parse("rules.yaml", []byte(cmp.Or(r.policy, policyText)))
	if err != nil {
		t.Fatal(err)
	}
	r.authz = auth.NewAuthorizer(policy)
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.broker = broker.New(broker.Options{
		Homes: 2, Settings: &r.set, Index: router.New(), Retained: retain.New(retain.Options{MessagesMax: 1000, BytesMax: 1 << 20}),
		Authorizer: r.authz, Chains: map[string]*auth.Chain{"default": auth.NewChain(passwords{}, challenge{})}, Log: audit.New(log, r.metrics.NewShard()),
		Durable: r.durable, Delayed: r.delayed, Bans: r.bans, StillKnown: r.known,
	})
	r.broker.Report(r.metrics)
	if r.server, err = New(Options{Loops: 2, Broker: r.broker, Metrics: r.metrics, Clock: clk, Spare: r.spare, Short: r.short, Engine: engine}); err != nil {
		t.Fatal(err)
	}
	door, err := listener.NewDoor(listener.DoorLimits{
		ConnectionsTotal: 5000, UnauthenticatedTotal: cmp.Or(r.strangers, 5000), HandshakesTotal: 1000, ConnectDeadline: 10 * time.Second,
	}, r.metrics.NewShard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	r.entrance = &listener.Listener{Name: "test", Protocol: "mqtt", Chain: "default", Door: door, TLS: secure, WebSocket: r.web, Sockets: []net.Listener{in}}
	if r.quic != nil {
		r.quic.entrance(r.entrance)
	}
	if err := r.server.Serve(r.entrance); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) close() {
	r.t.Helper()
	if r.ended {
		return
	}
	r.ended = true
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r.server.Shutdown(ctx)
	if n := r.metrics.Value(metrics.Connections); n != 0 {
		r.t.Errorf("%d connections counted after the end", n)
	}
	if n := r.metrics.Value(metrics.FaultsRecovered); n != 0 {
		r.t.Errorf("%d bugs were caught:\n%s", n, r.log)
	}
}

// passwords proves everybody whose password is "pw-" and the name.
type passwords struct{}

func (passwords) Name() string { return "test" }

func (passwords) Authenticate(req *auth.Request, done func(auth.Result)) {
	if string(req.Password.Reveal()) != "pw-"+req.Username {
		done(auth.Result{Outcome: auth.Deny, Reason: mqtt.BadUserNameOrPassword, Detail: "wrong password"})
		return
	}
	go done(auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: req.Username, Username: req.Username}})
}

// client is the other end of a pipe, packet by packet.
type client struct {
	r    *rig
	nc   net.Conn
	v    mqtt.Version
	name string
	in   unread
	over chan struct{} // closed just before in is ended
}

// unread is what a client has read and nobody has looked at: as much as comes, and
// no more memory than that.
type unread struct {
	mu    sync.Mutex // guards list and ended
	list  []packet
	ended bool
	more  chan struct{} // holds one when something was put, or the end
}

func (u *unread) put(list []packet, ended bool) {
	u.mu.Lock()
	u.list, u.ended = append(u.list, list...), ended
	u.mu.Unlock()
	select {
	case u.more <- struct{}{}:
	default:
	}
}

// take answers the next packet. Without one, over tells whether none will come.
func (u *unread) take() (p packet, ok, over bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.list) == 0 {
		return packet{}, false, u.ended
	}
	p, u.list = u.list[0], u.list[1:]
	return p, true, false
}

func (u *unread) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.list)
}

type packet struct {
	h    mqtt.Header
	body []byte
}

// dial opens a connection and sends nothing.
func (r *rig) dial(v mqtt.Version, name string) *client {
	nc := r.connection()
	c := &client{r: r, nc: nc, v: v, name: name, in: unread{more: make(chan struct{}, 1)}, over: make(chan struct{})}
	r.running(c.readAll)
	r.t.Cleanup(func() { _ = nc.Close() })
	return c
}

func (c *client) readAll() {
	defer func() {
		_ = c.nc.Close()
		close(c.over)
		c.in.put(nil, true)
	}()
	var buf []byte
	chunk := make([]byte, 32<<10)
	for {
		n, err := c.nc.Read(chunk)
		buf = append(buf, chunk[:n]...)
		for {
			h, ok, herr := mqtt.ReadHeader(buf, c.v)
			if herr != nil {
				panic(herr)
			}
			if !ok || len(buf) < h.Size+h.Remaining {
				break
			}
			c.r.heard.Add(1)
			c.in.put([]packet{{h, bytes.Clone(buf[h.Size : h.Size+h.Remaining])}}, false)
			buf = buf[h.Size+h.Remaining:]
		}
		if err != nil {
			return
		}
	}
}

// connect dials and connects as user "alice" of "alice/phone".
func (r *rig) connect(v mqtt.Version, who string, change ...func(*mqtt.Connect)) *client {
	c, ack := r.tryConnect(v, who, change...)
	if ack.Reason != mqtt.Success {
		r.t.Fatalf("%s was refused: %v", who, ack.Reason)
	}
	return c
}

func (r *rig) tryConnect(v mqtt.Version, who string, change ...func(*mqtt.Connect)) (*client, mqtt.Connack) {
	r.t.Helper()
	c := r.dial(v, who)
	user, id, _ := strings.Cut(who, "/")
	p := &mqtt.Connect{
		Version: v, CleanStart: true, KeepAlive: 60, ClientID: id, Username: user, HasUsername: true,
		HasPassword: true, Password: []byte("pw-" + user), ReceiveMaximum: 65535, RequestProblemInformation: true,
	}
	for _, f := range change {
		f(p)
	}
	c.send(p.Append(nil, v, 0))
	var ack mqtt.Connack
	got := c.expect(mqtt.CONNACK)
	if err := mqtt.DecodeConnack(got.body, got.h, v, mqtt.Limits{UserProperties: -1}, &ack); err != nil {
		r.t.Fatal(err)
	}
	return c, ack
}

func (c *client) send(b []byte) {
	c.r.t.Helper()
	_ = c.nc.SetWriteDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.nc.Write(b); err != nil {
		c.r.t.Fatalf("%s: write: %v", c.name, err)
	}
}

// next is the next packet, or none if nothing comes while everybody waits.
func (c *client) next() (packet, bool) {
	c.r.settle()
	p, ok, _ := c.in.take()
	return p, ok
}

// wanted is the next packet, which must come.
func (c *client) wanted() (packet, bool) {
	if c.r.quic != nil {
		return c.arrives()
	}
	if c.r.real == nil {
		return c.next()
	}
	for end := time.After(patience); ; {
		if p, ok, over := c.in.take(); ok || over {
			return p, ok
		}
		select {
		case <-c.in.more:
		case <-end:
			return packet{}, false
		}
	}
}

func (c *client) expect(t mqtt.Type) packet {
	c.r.t.Helper()
	p, ok := c.wanted()
	if !ok {
		c.r.t.Fatalf("%s: nothing came, want %v\n%s", c.name, t, c.r.log)
	}
	if p.h.Type != t {
		c.r.t.Fatalf("%s: got %v % x, want %v", c.name, p.h.Type, p.body, t)
	}
	return p
}

func (c *client) silent() {
	c.r.t.Helper()
	if p, ok := c.next(); ok {
		c.r.t.Fatalf("%s: got %v % x, want nothing", c.name, p.h.Type, p.body)
	}
}

// closed expects the end of the connection, after a DISCONNECT with reason if
// the version has it; 0xFF means without any packet.
func (c *client) closed(reason mqtt.ReasonCode) {
	c.r.t.Helper()
	if c.v == mqtt.V5 && reason != noPacket {
		p := c.expect(mqtt.DISCONNECT)
		var d mqtt.Disconnect
		if err := mqtt.DecodeDisconnectClient(p.body, p.h, c.v, mqtt.Limits{}, &d); err != nil {
			c.r.t.Fatal(err)
		}
		if d.Reason != reason {
			c.r.t.Fatalf("%s: DISCONNECT %v, want %v", c.name, d.Reason, reason)
		}
	}
	p, ok := c.wanted()
	if ok {
		c.r.t.Fatalf("%s: got %v, want the end", c.name, p.h.Type)
	}
	select {
	case <-c.over:
	default:
		c.r.t.Fatalf("%s: still open\n%s", c.name, c.r.log)
	}
}

const noPacket = mqtt.ReasonCode(0xFF)

func (c *client) subscribe(filter string, qos mqtt.QoS, change ...func(*mqtt.Subscribe)) mqtt.ReasonCode {
	c.r.t.Helper()
	p := &mqtt.Subscribe{PacketID: 7, Filters: []mqtt.Subscription{{Filter: filter, QoS: qos}}}
	for _, f := range change {
		f(p)
	}
	c.send(p.Append(nil, c.v, 0))
	got := c.expect(mqtt.SUBACK)
	var ack mqtt.Suback
	if err := mqtt.DecodeSuback(got.body, got.h, c.v, mqtt.Limits{UserProperties: -1}, &ack); err != nil {
		c.r.t.Fatal(err)
	}
	if ack.PacketID != 7 || len(ack.Reasons) != len(p.Filters) {
		c.r.t.Fatalf("SUBACK %+v", ack)
	}
	return ack.Reasons[0]
}

func (c *client) publish(topic, payload string, qos mqtt.QoS, id uint16, change ...func(*mqtt.Publish)) {
	c.r.t.Helper()
	p := &mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: qos, PacketID: id}
	for _, f := range change {
		f(p)
	}
	c.send(p.Append(nil, c.v))
}

func (c *client) ack(t mqtt.Type, id uint16) {
	a := mqtt.Ack{Type: t, PacketID: id}
	c.send(a.Append(nil, c.v, 0))
}

// acked expects an acknowledgement of id and answers its reason.
func (c *client) acked(t mqtt.Type, id uint16) mqtt.ReasonCode {
	c.r.t.Helper()
	p := c.expect(t)
	var a mqtt.Ack
	if err := mqtt.DecodeAck(p.body, p.h, c.v, mqtt.Limits{}, &a); err != nil {
		c.r.t.Fatal(err)
	}
	if a.PacketID != id {
		c.r.t.Fatalf("%v of %d, want %d", t, a.PacketID, id)
	}
	return a.Reason
}

// message expects a PUBLISH.
func (c *client) message() mqtt.Publish {
	c.r.t.Helper()
	p := c.expect(mqtt.PUBLISH)
	var m mqtt.Publish
	if err := mqtt.DecodePublishClient(p.body, p.h, c.v, mqtt.Limits{UserProperties: -1}, &m); err != nil {
		c.r.t.Fatal(err)
	}
	return m
}

func (c *client) gets(topic, payload string) mqtt.Publish {
	c.r.t.Helper()
	m := c.message()
	if string(m.Topic) != topic || string(m.Payload) != payload {
		c.r.t.Fatalf("%s: got %q %q, want %q %q", c.name, m.Topic, clip(m.Payload), topic, payload)
	}
	return m
}

func clip(b []byte) []byte { return b[:min(len(b), 64)] }

// pipes is a net.Listener of in-memory connections.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial() net.Conn {
	a, b := net.Pipe()
	p.conns <- a
	return b
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var _ io.Writer = (*lockedBuffer)(nil)
