package harden

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// fake is a broker with good manners that a test takes away one by one: each
// check must find each of them missing, and must be content with the rest. It
// reads with package mqtt, which the probes do not.
type fake struct {
	t      *testing.T
	cert   tls.Certificate
	limits Limits
	conf   *tls.Config                // of TLS listeners; nil: a good one for selfSigned
	web    *tls.Config                // of wss; nil: as conf
	config map[string]config.Listener // in the configuration

	fakeChain

	mu    sync.Mutex // guards what follows
	flaws flaws
	fakeSockets
	users    map[string]ProbeUser
	made     []ProbeUser
	conns    map[*fakeConn]bool
	retained map[string]bool
	denied   []string // fingerprints
	connects map[string]int
	banned   map[string]bool
	wait     sync.WaitGroup
	status   string // file of /proc that says how much memory it has; empty: none does
}

// flaw is one thing a broken broker does.
type flaw string

// The flaws, by the row that must notice.
const (
	// P3.1
	oldTLS, oldTLSByName flaw = "oldTLS", "oldTLSByName"
	// P3.2
	nullSuite, exportSuite, anonymousSuite, rc4Suite, tripleDES         flaw = "nullSuite", "exportSuite", "anonymousSuite", "rc4Suite", "tripleDES"
	rsaExchange, dheSuite, cbcSuite, cbcByName, ccmSuite, unencrypted13 flaw = "rsaExchange", "dheSuite", "cbcSuite", "cbcByName", "ccmSuite", "unencrypted13"
	goCBC, compresses, oldRenegotiation, anyProtocol, knowsProbes       flaw = "goCBC", "compresses", "oldRenegotiation", "anyProtocol", "knowsProbes"
	noHybrid, loneP521, weakCurve, only12, only13                       flaw = "noHybrid", "loneP521", "weakCurve", "only12", "only13"
	// P3.4
	believesName flaw = "believesName"
	// P3.5
	keepsSessions, keepsSessionsWeb, keepsWithdrawn flaw = "keepsSessions", "keepsSessionsWeb", "keepsWithdrawn"
	deniesNobody, deniesEverybody, cannotDeny       flaw = "deniesNobody", "deniesEverybody", "cannotDeny"
	// P4.1
	everybody, noPassword, emptyPassword, anyUser flaw = "everybody", "noPassword", "emptyPassword", "anyUser"
	prefixOfSecret, anyMethod                     flaw = "prefixOfSecret", "anyMethod"
	nobody, noneAfter, closesOnly, keepsDeleted   flaw = "nobody", "noneAfter", "closesOnly", "keepsDeleted"
	everybody3, tellsByTime                       flaw = "everybody3", "tellsByTime"
	// P4.2
	deliversDenied, acceptsDenied, acceptsQoS0, keepsRetained flaw = "deliversDenied", "acceptsDenied", "acceptsQoS0", "keepsRetained"
	lateAlias, freeWill, freeSubscribe, freeShare             flaw = "lateAlias", "freeWill", "freeSubscribe", "freeShare"
	leaksRefused, masterGrant, loses, wrongCode               flaw = "leaksRefused", "masterGrant", "loses", "wrongCode"
	freeSubscribe3                                            flaw = "freeSubscribe3"
	// P4.3
	noPacketLimit, waitsForBody, noConnectLimit, noLevels flaw = "noPacketLimit", "waitsForBody", "noConnectLimit", "noLevels"
	noLevelsSubscribe, noSubscriptions, noReleases, early flaw = "noLevelsSubscribe", "noSubscriptions", "noReleases", "early"
	silentCut, noRate, rateElsewhere                      flaw = "silentCut", "noRate", "rateElsewhere"
	reservesAnnounced, fillsAnnounced                     flaw = "reservesAnnounced", "fillsAnnounced"
	// P4.4
	countsNobody, bansNames, countsFailures, bansEarly flaw = "countsNobody", "bansNames", "countsFailures", "bansEarly"
	keepsBan, cannotLift                               flaw = "keepsBan", "cannotLift"
	// P5.7
	tellsVersion, tellsVersion4, tellsByProperty, unversioned flaw = "tellsVersion", "tellsVersion4", "tellsByProperty", "unversioned"
	// Listeners behind proxies and on QUIC.
	believesAnybody, needsNoHeader, takesEarlyData flaw = "believesAnybody", "needsNoHeader", "takesEarlyData"
	// Differences that are no flaws.
	only4, noRetain, noWildcards, noShared, qos1 flaw = "only4", "noRetain", "noWildcards", "noShared", "qos1"
	unlimited, overEnds                          flaw = "unlimited", "overEnds"
)

// flaws are those of one broker. None is a good one.
type flaws []flaw

func (f *fake) has(x flaw) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.flaws, x)
}

type fakeConn struct {
	f     *fake
	conn  net.Conn
	r     *bufio.Reader
	v     mqtt.Version
	user  string
	id    string
	named string     // by its certificate
	shown string     // fingerprint of that
	mu    sync.Mutex // guards writing
	subs  map[string]bool
	alias map[uint16]string
	open2 map[uint16]bool
	will  *mqtt.Will

	protocol string
	spent    limit.Bucket
}

func newFake(t *testing.T, fl flaws) *fake {
	t.Helper()
	f := &fake{t: t, fakeChain: fakeChain{clock: new(hurried), flapping: Flapping{Connects: 4, Window: time.Minute, Ban: 5 * time.Minute}}, cert: selfSigned(t), flaws: fl, fakeSockets: fakeSockets{tables: map[string]string{}}, users: map[string]ProbeUser{}, conns: map[*fakeConn]bool{}, retained: map[string]bool{},
		limits: Limits{PacketBytes: 2000, ConnectPacketBytes: 1000, TopicLevels: 4, TopicBytes: 100, ClientIDBytes: 100, Inflight: 3, AwaitingRel: 5, Subscriptions: 30, TopicAliases: 2}}
	if f.has(only4) {
		f.limits.Inflight = 9
	}
	t.Cleanup(f.stop)
	return f
}

// stop ends every connection and waits for its goroutine; listeners were closed
// by cleanups that ran before.
func (f *fake) stop() {
	f.mu.Lock()
	for c := range f.conns {
		_ = c.conn.Close()
	}
	f.mu.Unlock()
	f.wait.Wait()
}

// listen opens a listener of a protocol that the broker reports, or of none.
func (f *fake) listen(name, protocol, address string) netip.AddrPort {
	f.t.Helper()
	if protocol == "quic" {
		return f.listenQUIC(name, address)
	}
	network := "tcp"
	if protocol == "unix" {
		network = "unix"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = l.Close() })
	f.mu.Lock()
	f.opened(l.(held))
	f.addrs = append(f.addrs, l.Addr().String())
	if name != "" {
		f.listeners = append(f.listeners, ListenerReport{name, l.Addr().String(), protocol})
	}
	f.mu.Unlock()
	f.wait.Add(1)
	go func() {
		defer f.wait.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.wait.Add(1)
			go func() {
				defer f.wait.Done()
				if c, named := f.behindProxy(c, name); c != nil {
					f.serve(c, protocol, named)
				}
			}()
		}
	}()
	addr, _ := netip.ParseAddrPort(l.Addr().String())
	return addr
}

func (f *fake) serve(conn net.Conn, protocol, named string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	print := ""
	if protocol == "mqtts" || protocol == "wss" {
		conf := f.serverConf(protocol)
		var done bool
		if conn, done = f.meddle(conn); done {
			return
		}
		t := tls.Server(conn, conf)
		if t.HandshakeContext(context.Background()) != nil {
			return
		}
		named, print = shownBy(t.ConnectionState())
		conn = t
	}
	if protocol == "ws" || protocol == "wss" {
		w, err := acceptWebSocket(conn)
		if err != nil {
			return
		}
		conn = w
	}
	f.talkOn(conn, protocol, named, print)
}

// serverConf is how TLS is spoken.
func (f *fake) serverConf(protocol string) *tls.Config {
	conf := &tls.Config{Certificates: []tls.Certificate{f.cert}, MinVersion: tls.VersionTLS12}
	if f.has(oldTLS) {
		conf.MinVersion = tls.VersionTLS10
		conf.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	}
	if f.has(oldTLSByName) {
		old := conf.Clone()
		old.MinVersion, old.CipherSuites = tls.VersionTLS11, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		conf.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if h.ServerName == "old.example" {
				return old, nil
			}
			return nil, nil
		}
	}
	conf.NextProtos = map[string][]string{"mqtts": {"mqtt"}, "quic": {"mqtt"}, "wss": {"http/1.1"}}[protocol]
	f.spoilTLS(conf)
	if f.conf != nil {
		f.mu.Lock()
		if conf = f.conf; protocol == "wss" && f.web != nil {
			conf = f.web
		}
		f.mu.Unlock()
		conf = f.denying(conf, protocol)
	}
	return conf
}

// talkOn speaks MQTT until the connection ends.
func (f *fake) talkOn(conn net.Conn, protocol, named, print string) {
	c := &fakeConn{f: f, conn: conn, protocol: protocol, named: named, shown: print, r: bufio.NewReader(conn), subs: map[string]bool{}, alias: map[uint16]string{}, open2: map[uint16]bool{}}
	f.mu.Lock()
	f.conns[c] = true
	f.mu.Unlock()
	c.talk()
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
	if c.will != nil {
		f.route(c.user, c.will.Topic)
	}
}

// talk reads packets until one ends the connection.
func (c *fakeConn) talk() {
	for {
		h, body, err := c.next()
		if err != nil {
			var bad *mqtt.Error
			if errors.As(err, &bad) {
				c.cut(bad.Reason)
			}
			return
		}
		if c.v == 0 {
			if h.Type != mqtt.CONNECT || !c.connect(body) {
				return
			}
			continue
		}
		if !c.packet(h, body) {
			return
		}
	}
}

// next reads one packet, within the limits.
func (c *fakeConn) next() (mqtt.Header, []byte, error) {
	var b []byte
	for {
		x, err := c.r.ReadByte()
		if err != nil {
			return mqtt.Header{}, nil, err
		}
		b = append(b, x)
		h, ok, err := mqtt.ReadHeader(b, c.v)
		if err != nil || !ok {
			if err != nil {
				return h, nil, err
			}
			continue
		}
		most := c.f.limits.PacketBytes
		unlimited := c.f.has(noPacketLimit) || c.f.has(waitsForBody)
		if c.v == 0 {
			most, unlimited = c.f.limits.ConnectPacketBytes, c.f.has(noConnectLimit)
		}
		if c.f.has(early) {
			most--
		}
		if int64(h.Size+h.Remaining) > most && !unlimited {
			c.f.grow(int64(h.Remaining))
			return h, nil, &mqtt.Error{Reason: mqtt.PacketTooLarge}
		}
		body := make([]byte, min(h.Remaining, 1<<20))
		_, err = io.ReadFull(c.r, body)
		if c.f.has(waitsForBody) && int64(h.Size+h.Remaining) > most {
			err = &mqtt.Error{Reason: mqtt.PacketTooLarge}
		}
		return h, body, err
	}
}

func (c *fakeConn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.conn.Write(b)
}

// cut ends the connection with a reason that MQTT 5.0 can carry.
func (c *fakeConn) cut(reason mqtt.ReasonCode) {
	if c.v == mqtt.V5 && !c.f.has(silentCut) {
		c.write((&mqtt.Disconnect{Reason: reason}).Append(nil, c.v, 0))
	}
}

func (c *fakeConn) connect(body []byte) bool {
	var p mqtt.Connect
	if mqtt.DecodeConnect(body, mqtt.Limits{UserProperties: -1}, &p) != nil {
		return false
	}
	ack := mqtt.Connack{Reason: mqtt.Success}
	switch {
	case c.named == "":
		ack.Reason = c.f.admit(&p)
	case !c.f.has(believesName):
		p.Username = c.named
	}
	if p.Will != nil && ack.Reason == mqtt.Success && !c.f.may(p.Username, p.Will.Topic) && !c.f.has(freeWill) {
		ack.Reason = mqtt.NotAuthorized
	}
	if c.f.has(only4) && p.Version == mqtt.V5 {
		ack.Reason = mqtt.UnsupportedProtocolVersion
	}
	if c.f.flaps(&p, ack.Reason == mqtt.Success) {
		ack.Reason = mqtt.Banned
	}
	if p.Version == mqtt.V5 {
		ack.ReceiveMaximum, ack.TopicAliasMaximum = uint16(c.f.limits.Inflight), uint16(c.f.limits.TopicAliases)
		ack.AssignedClientID, ack.ReasonString = p.ClientID, "hello" // properties to read past
		ack.UserProperties = []mqtt.UserProperty{{Name: "a", Value: "b"}}
		if c.f.has(tellsVersion) {
			ack.ReasonString = "goodbye from Fake/" + strings.ToUpper(fakeVersion)
		}
		if c.f.has(tellsByProperty) {
			ack.UserProperties = append(ack.UserProperties, mqtt.UserProperty{Name: "server", Value: "fake-" + fakeVersion})
		}
		no, one := false, mqtt.QoS(1)
		if c.f.has(noRetain) {
			ack.RetainAvailable = &no
		}
		if c.f.has(noWildcards) {
			ack.WildcardAvailable = &no
		}
		if c.f.has(noShared) {
			ack.SharedAvailable = &no
		}
		if c.f.has(qos1) {
			ack.MaximumQoS = &one
		}
	}
	if c.f.has(closesOnly) && ack.Reason != mqtt.Success {
		return false
	}
	if ack.Reason == mqtt.Success {
		c.f.mu.Lock() // a user may be deleted just now, and somebody may ask who this is
		c.v, c.user, c.will, c.id = p.Version, p.Username, p.Will, p.ClientID
		c.f.mu.Unlock()
	}
	answer := ack.Append(nil, p.Version, 0)
	if c.f.has(tellsVersion4) && p.Version == mqtt.V311 { // more than MQTT 3.1.1 has in a CONNACK
		answer = append(answer, fakeVersion...)
		answer[1] += byte(len(fakeVersion))
	}
	c.write(answer)
	return ack.Reason == mqtt.Success
}

// admit answers who may come in.
func (f *fake) admit(p *mqtt.Connect) mqtt.ReasonCode {
	f.mu.Lock()
	u, known := f.users[p.Username]
	f.mu.Unlock()
	own := string(u.Secret.Reveal())
	right := known && p.HasPassword && own == string(p.Password)
	if !right {
		f.clock.more.Add(int64(f.refusalTakes(known)))
	}
	switch {
	case f.has(nobody), f.has(noneAfter) && p.HasAuthMethod:
		if f.has(noneAfter) {
			f.mu.Lock()
			f.flaws = append(f.flaws, nobody)
			f.mu.Unlock()
		}
		return mqtt.BadUserNameOrPassword
	case f.tokens != nil && (f.tokens(string(p.Password)) || f.tokens(p.Username)),
		f.has(everybody),
		f.has(everybody3) && p.Version == mqtt.V31,
		f.has(noPassword) && known && !p.HasPassword,
		f.has(emptyPassword) && known && p.HasPassword && len(p.Password) == 0,
		f.has(anyUser) && p.HasUsername && p.Username != "" && len(p.Password) > 0 && !known,
		f.has(prefixOfSecret) && known && len(p.Password) > 4 && strings.HasPrefix(own, string(p.Password)),
		f.has(anyMethod) && right:
		return mqtt.Success
	case p.HasAuthMethod:
		return mqtt.BadAuthenticationMethod
	case !right:
		return mqtt.BadUserNameOrPassword
	}
	return mqtt.Success
}

// may is the rule: a user with a grant has its topic and what is below.
func (f *fake) may(user, name string) bool {
	f.mu.Lock()
	u := f.users[user]
	f.mu.Unlock()
	if u.Topic == "" {
		return f.still(user, name, false)
	}
	if f.has(masterGrant) {
		return true
	}
	_, inner, shared, _ := topic.ParseShare(name)
	if shared {
		name = inner
	}
	return name == u.Topic || strings.HasPrefix(name, u.Topic+"/")
}

func (c *fakeConn) packet(h mqtt.Header, body []byte) bool {
	lim := mqtt.Limits{UserProperties: -1, Filters: 10_000}
	switch h.Type {
	case mqtt.PINGREQ:
		c.write(mqtt.AppendPingresp(nil))
	case mqtt.DISCONNECT:
		c.will = nil
		return false
	case mqtt.PUBREL:
		var p mqtt.Ack
		if mqtt.DecodeAck(body, h, c.v, lim, &p) != nil {
			return false
		}
		delete(c.open2, p.PacketID)
		c.write((&mqtt.Ack{Type: mqtt.PUBCOMP, PacketID: p.PacketID}).Append(nil, c.v, 0))
	case mqtt.PUBREC:
		var p mqtt.Ack
		if mqtt.DecodeAck(body, h, c.v, lim, &p) != nil {
			return false
		}
		c.write((&mqtt.Ack{Type: mqtt.PUBREL, PacketID: p.PacketID}).Append(nil, c.v, 0))
	case mqtt.SUBSCRIBE:
		var p mqtt.Subscribe
		if mqtt.DecodeSubscribe(body, h, c.v, lim, &p) != nil {
			return false
		}
		c.subscribe(&p)
	case mqtt.PUBLISH:
		var p mqtt.Publish
		if err := mqtt.DecodePublish(body, h, c.v, lim, &p); err != nil {
			c.f.t.Errorf("the probe published something that is not MQTT: %v", err)
			return false
		}
		return c.slow(time.Now()) && c.publish(&p)
	}
	return true
}

func (c *fakeConn) subscribe(p *mqtt.Subscribe) {
	ack := mqtt.Suback{PacketID: p.PacketID}
	for _, s := range p.Filters {
		_, _, shared, _ := topic.ParseShare(s.Filter)
		rc := mqtt.ReasonCode(s.QoS)
		most := int(c.f.limits.Subscriptions)
		if c.f.has(early) {
			most--
		}
		switch {
		case topic.Levels(s.Filter) > int(c.f.limits.TopicLevels) && !c.f.has(noLevelsSubscribe):
			rc = mqtt.TopicFilterInvalid
		case shared && c.f.has(noShared):
			rc = mqtt.SharedSubscriptionsNotSupported
		case topic.HasWildcard(s.Filter) && c.f.has(noWildcards):
			rc = mqtt.WildcardSubscriptionsNotSupported
		case !c.f.may(c.user, s.Filter) && !(c.f.has(freeSubscribe) || c.f.has(freeSubscribe3) && c.v == mqtt.V31) && !(shared && c.f.has(freeShare)):
			rc = mqtt.NotAuthorized
			if c.f.has(wrongCode) {
				rc = mqtt.QuotaExceeded
			}
		case len(c.subs) >= most && !c.f.has(noSubscriptions):
			rc = mqtt.QuotaExceeded
		}
		leaks := c.f.has(leaksRefused)
		c.f.mu.Lock()
		if rc < 0x80 || leaks {
			c.subs[s.Filter] = true
		}
		c.f.mu.Unlock()
		ack.Reasons = append(ack.Reasons, rc)
	}
	c.write(ack.Append(nil, c.v, 0))
	c.f.mu.Lock()
	var late []string
	for name := range c.f.retained {
		for _, s := range p.Filters {
			if topic.Match(s.Filter, []byte(name)) {
				late = append(late, name)
			}
		}
	}
	c.f.mu.Unlock()
	for _, name := range late {
		c.deliver(name)
	}
}

// publish answers whether the connection goes on.
func (c *fakeConn) publish(p *mqtt.Publish) bool {
	name, byAlias := string(p.Topic), false
	if p.HasTopicAlias {
		if name == "" {
			name, byAlias = c.alias[p.TopicAlias], true
		}
		c.alias[p.TopicAlias] = name
	}
	if topic.Levels(name) > int(c.f.limits.TopicLevels) && !c.f.has(noLevels) {
		c.cut(mqtt.TopicNameInvalid)
		return false
	}
	if p.QoS == 2 {
		most := int(c.f.limits.AwaitingRel)
		if c.v == mqtt.V5 {
			most = int(c.f.limits.Inflight)
		}
		if len(c.open2) >= most && !c.f.has(noReleases) {
			c.cut(mqtt.ReceiveMaximumExceeded)
			return false
		}
	}
	allowed := c.f.may(c.user, name) || byAlias && c.f.has(lateAlias)
	reason := mqtt.Success
	if !allowed && !c.f.has(acceptsDenied) && !(c.f.has(acceptsQoS0) && p.QoS == 0) {
		reason = mqtt.NotAuthorized
		if c.f.has(wrongCode) {
			reason = mqtt.QuotaExceeded
		}
		if c.f.has(deliversDenied) {
			c.f.route("", name)
		}
	} else if !c.f.has(loses) {
		c.f.route(c.user, name)
	}
	if p.Retain && (reason == mqtt.Success || c.f.has(keepsRetained)) {
		c.f.mu.Lock()
		if len(p.Payload) == 0 {
			delete(c.f.retained, name)
		} else {
			c.f.retained[name] = true
		}
		c.f.mu.Unlock()
	}
	if reason != mqtt.Success && c.v != mqtt.V5 && p.QoS > 0 {
		return false
	}
	switch p.QoS {
	case 1:
		c.write((&mqtt.Ack{Type: mqtt.PUBACK, PacketID: p.PacketID, Reason: reason}).Append(nil, c.v, 0))
	case 2:
		if reason == mqtt.Success {
			c.open2[p.PacketID] = true
		}
		c.write((&mqtt.Ack{Type: mqtt.PUBREC, PacketID: p.PacketID, Reason: reason}).Append(nil, c.v, 0))
	}
	return true
}
