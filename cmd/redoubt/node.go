package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/auth/tokens"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/cores"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
)

// node is one running broker: every room, put together. Shutdown is start-up
// backwards.
type node struct {
	clock   clock.Clock
	log     *slog.Logger
	level   *slog.LevelVar
	started time.Time
	ready   atomic.Bool
	release func() // the data directory

	setup
	identity
	metrics *metrics.Registry
	count   *metrics.Shard // of what this struct does itself
	audit   *audit.Log
	alarms  *alarm.Alarms
	pki     *pki.BuiltIn
	made    bool // the data directory was new

	stores
	backed
	broker *broker.Broker
	front
	means
}

// front is where clients come in.
type front struct {
	door        *listener.Door
	server      *conn.Server
	ofInterface func(name string, port uint16) ([]string, error) // listener.OfInterface
	entrances   atomic.Pointer[[]*door]                          // by name; replaced as a whole, see doors
	tending     tending
	watch       watch // of the files of those
	served      served
	staples     staples
	acme        acmeManagers
	enrol       enrolment
	probed      atomic.Pointer[[]string] // certificates denied for probes, changed in one's turn; nil: none
}

// setup is the configuration in force and how to read it again.
type setup struct {
	turn   chan struct{} // holds a token through a reload or a change of settings
	loaded atomic.Pointer[config.Loaded]
	next   atomic.Pointer[config.Loaded] // what a start would make of the same file: differs in keys that need one
	load   func() (*config.Loaded, error)
	read   contents  // of the files that belong to it; written by the start, then in one's turn
	ruled  ruleFiles // the same

	kept      settingKeeper          // what was set at run time; nil before the store is open
	restarted map[string]config.Kept // of that, what needs a restart and has had it; written by the start

	mu          sync.Mutex // guards levelChosen
	levelChosen bool       // by the API: the configuration leaves log.level to it
}

// backed is what the node has of what survives it.
type backed struct {
	durable *durable
	commits *metrics.Shard // of the log's goroutine
	loops   int
}

// stores are what the node holds for its clients, or the sum of it.
type stores struct {
	retained *retain.Store
	held     *session.Account
	delayed  *delay.Account
}

// identity is who may come in and what they may do.
type identity struct {
	users   *builtin.Store
	builtin *builtin.Authenticator
	asked   map[string]*asked // in force, by name; changed in one's turn
	askable askable
	authz   *auth.Authorizer
	bans    *bans.Bans
	tokens  *tokens.Revoked
	rules   ruling
	tried   *trying

	sourcing sourcing
	counting authnCounting
}

// door is a listener with what a reload may exchange.
type door struct {
	*listener.Listener
	access []string                     // the rules that Access was made from
	certs  atomic.Pointer[pki.Provider] // of each handshake; nil on plaintext
	asking atomic.Pointer[tls.Config]   // likewise, where clients are asked for certificates
	untend context.CancelFunc           // ends what tend began; nil: nothing
	halted atomic.Pointer[halt]         // by an operator; nil: it was not, or was started again
	ending <-chan struct{}              // closed when its clients of then are gone, see dismissAll; of whose turn it is
	online                              // what is asked of others about certificates of clients

	staple     atomic.Pointer[stapled] // nil: nothing is stapled
	stapleNext atomic.Pointer[stapled] // of certificates that are about to be served, or wait for an answer
}

// prepare makes or opens everything a data directory holds but the store. Nothing
// listens yet.
func prepare(loaded *config.Loaded, clk clock.Clock, log *slog.Logger, level *slog.LevelVar) (n *node, err error) {
	c := loaded.Config
	n = &node{clock: clk, log: log, level: level, started: clk.Now(), metrics: metrics.New(), alarms: alarm.New(log)}
	n.ofInterface = listener.OfInterface
	n.turn = make(chan struct{}, 1)
	n.loaded.Store(loaded)
	if err := datadir.Init(c.Node.DataDir); err != nil {
		return nil, err
	}
	if n.release, err = datadir.Lock(c.Node.DataDir); err != nil {
		return nil, err
	}
	release := n.release // n is nil when an error is returned
	defer func() {
		if err != nil {
			release()
		}
	}()
	judged := false
	defer func() {
		if err == nil || judged {
			return
		}
		if unsafe := harden.WhyRefused(c, clk); unsafe != nil {
			err = unsafe // who reads a key or the rules has refused them before, without the row
		}
	}()
	if n.pki, n.made, err = pki.Ensure(c.Node.DataDir, n.started, localNames()); err != nil {
		return nil, err
	}
	if err = ensureRules(c); err != nil {
		return nil, err
	}
	n.read = readContents(c)
	if n.ruled.inForce, err = n.ruled.inForce.Again(c.Authz.RulesFile, func() {}); err != nil {
		return nil, err
	}
	n.authz, n.tried = auth.NewAuthorizer(n.ruled.inForce.Policy), newTrying()
	judged = true
	if err = harden.RefuseStart(c, clk); err != nil {
		return nil, err
	}
	n.metrics.SetBuild(version, revision())
	n.count, n.commits = n.metrics.NewShard(), n.metrics.NewShard()
	n.audit = audit.New(log, n.count)
	n.audit.ShowLogins(c.Audit.DataPlane == config.AuditAll)
	for i, kind := range alarm.Kinds {
		n.metrics.Gauge(metrics.Alarms.At(i), func() int64 { return n.alarms.Count(kind) })
	}
	return n, nil
}

// ownRules is the rules file that a start makes where there is none.
func ownRules(c *config.Config) string { return filepath.Join(c.Node.DataDir, "rules.yaml") }

// ensureRules writes the shipped rules where the configuration names no file of
// its own and there is none. A named file that is missing is an error: nobody
// wants other rules than those he wrote.
func ensureRules(c *config.Config) error {
	if c.Authz.RulesFile != ownRules(c) {
		return nil
	}
	if _, err := os.Lstat(c.Authz.RulesFile); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return safefile.Write(c.Authz.RulesFile, rules.Default(), 0o600)
}

// localNames are what the built-in certificate is valid for.
func localNames() pki.Names {
	host, _ := os.Hostname() // without one, the other names remain
	return pki.LocalNames(host, localAddrs())
}

// localAddrs are the addresses of this machine now.
func localAddrs() (addrs []netip.Addr) {
	found, _ := net.InterfaceAddrs()
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}

// assemble opens the store, makes the broker and opens the listening sockets; nobody is
// let in. After an error what it opened is closed.
func (n *node) assemble() (err error) {
	defer func() {
		if err != nil {
			n.dismantle()
		}
	}()
	cores.Spare(os.Getenv("GOMAXPROCS") != "")
	short := cores.Shorten()
	c := n.loaded.Load().Config
	if err := n.bindMemory(c); err != nil {
		return err
	}
	if err := n.openStore(c, true); err != nil {
		return err
	}
	if err := n.openSettings(n.durable.view.Wait); err != nil {
		return err
	}
	c = n.loaded.Load().Config
	connections, sum, err := connectionsMax(c)
	if err != nil {
		return err
	}
	n.files = sum
	if err := n.openUsers(c, n.durable.view.Wait); err != nil {
		return err
	}
	if n.builtin, err = builtin.New(n.users, n.clock, builtin.Options{Workers: hashers(*n.memory.Load()), Caught: n.caught}); err != nil {
		return err
	}
	if err := n.openBans(c, n.durable.view.Wait); err != nil {
		return err
	}
	if err := n.openTokens(n.durable.view.Wait); err != nil {
		return err
	}
	if err := n.openRules(c, n.durable.view.Wait); err != nil {
		return err
	}
	n.reportBackends()
	n.reportAnswers()
	asking, err := n.prepareAuthenticators(c)
	if err != nil {
		return err
	}
	chains, _ := asking.enter(c)
	if err := errors.Join(tryChains(c, chains), tryPolicy(n.authz.Policy())); err != nil {
		return err
	}
	n.retained, n.held = retain.New(retainOptions(c, *n.memory.Load(), broker.RetainedRows(n.durable.view))), session.NewAccount(int64(c.Limits.MqueueBytesTotal))
	n.loops = cores.Count()
	n.delayed = delay.NewAccount(delayLimits(c))
	n.broker = broker.New(broker.Options{
		Delayed: n.delayed, Sys: n.sysTopics,
		Durable: n.backing(),
		Homes:   n.loops, Settings: brokerSettings(c, n.held), Index: router.New(), Retained: n.retained,
		Authorizer: n.authz, Chains: chains, Log: n.audit, StillKnown: n.stillKnown, Bans: n.bans, Candidate: &n.tried.Candidate, Observer: &n.tried.observer,
	})
	n.broker.Report(n.metrics)
	n.metrics.Gauge(metrics.MqueueBytes, n.held.Held)
	n.reportStore()
	if n.door, err = listener.NewDoor(doorLimits(c, connections), n.metrics.NewShard()); err != nil {
		return err
	}
	n.door.Bar(func(now time.Time, a netip.Addr) bool { return n.bans.Address(now, a) != nil })
	n.watch.seen = n.stamps(c) // before they are read
	n.openStaples(c.Node.DataDir)
	n.metrics.Gauge(metrics.CertificateFilesRefused, n.watch.refused.Load)
	for _, name := range sortedKeys(c.Listeners) {
		if err := n.listen(name, c); err != nil {
			return err
		}
	}
	n.reportCertificates()
	n.reportListeners()
	if err := n.openEnroll(c); err != nil {
		return err
	}
	n.metrics.Gauge(metrics.ListenBacklog, n.listenBacklog)
	n.reportLists()
	n.door.Report(n.metrics)
	n.judgeItself() // before there are loops, which publish its score
	if n.server, err = conn.New(conn.Options{Loops: n.loops, Broker: n.broker, Metrics: n.metrics, Clock: n.clock, Spare: cores.Spared(), Short: short, First: cores.First}); err != nil {
		return err
	}
	if first := cores.Others(); !first || !short {
		n.log.Info("event loops do not come before all other threads of the process: clients wait longer while strangers come, or the collector runs; Linux 6.12 and a filter of system calls that lets sched_setattr pass do that",
			"others_behind", first, "short_slices", short)
	}
	n.oversee()
	n.users.OnChange(n.usersChanged)
	return nil
}

// listen opens one listener of the configuration.
func (n *node) listen(name string, all *config.Config) error {
	if len(all.Listeners[name].Bind) == 0 {
		return nil
	}
	l, err := n.makeDoor(name, all, stapleStart)
	if err != nil {
		return err
	}
	m, err := n.move(l, all.Listeners[name], true)
	if err != nil {
		return err
	}
	m.Commit()
	n.sayBound(l)
	n.setDoors(append(n.doors(), l))
	return nil
}

// makeDoor makes a listener of the configuration that has no sockets yet.
func (n *node) makeDoor(name string, all *config.Config, within time.Duration) (*door, error) {
	c := all.Listeners[name]
	l := &door{Listener: &listener.Listener{Name: name, Protocol: c.Protocol, Chain: name, Door: n.door}}
	if c.SocketMode == config.SocketOwner {
		l.SocketMode = 0o600
	}
	l.Gate.SetLimits(gateLimits(all, name))
	if !c.Plaintext() {
		if err := n.secure(l, all, within); err != nil {
			return nil, err
		}
	}
	if c.WebSocket() {
		l.WebSocket = &listener.WebSocket{Path: c.Path, Origins: c.Origins}
	}
	l.guard(c)
	return l, nil
}

// secure gives a listener its certificates, and what judges those of clients.
func (n *node) secure(l *door, all *config.Config, within time.Duration) error {
	name, c := l.Name, all.Listeners[l.Name]
	if err := n.openACME(name, c); err != nil {
		return err
	}
	certs, err := n.certificates(name, c)
	if err != nil {
		return err
	}
	l.certs.Store(certs)
	if l.TLS, err = pki.ServerTLS(pki.Profile(c.TLS.Profile), certs); err != nil {
		return fmt.Errorf("listeners.%s: %w", name, err)
	}
	if c.WebSocket() { // browsers offer it; a client of MQTT that does not speak HTTP has no business here
		l.TLS.NextProtos = []string{listener.WebSocketALPN}
	}
	l.TLS.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		conn.GiveWay(hello.Conn)
		return n.show(l, hello)
	}
	clients, err := n.clients(name, all)
	if err != nil {
		return err
	}
	n.openOnline(l, all)
	n.judgeBy(l, clients, all)
	n.sayOpenEnds(l)
	if err := n.unstapled(l, n.stapleFor(context.Background(), l, c, certs, within)); err != nil {
		return err
	}
	l.adopt()
	l.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return l.asking.Load(), nil }
	return nil
}

// certificates are a listener's own, or those of the built-in CA.
func (n *node) certificates(name string, c config.Listener) (*pki.Provider, error) {
	if len(c.TLS.Certificates) == 0 {
		return n.pairs(name, c)
	}
	p := pki.NewProvider()
	for i, pair := range c.TLS.Certificates {
		cert, err := pki.LoadPairWithKey(pair.Cert, pair.Key.Value, pair.Key.Ref, n.clock.Now())
		if err != nil {
			return nil, fmt.Errorf("listeners.%s.tls.certificates[%d]: %w (row P3.3)", name, i, err)
		}
		p.Set(append(p.Certificates(), cert)...)
	}
	return p, nil
}

// open lets clients in. After an error the caller closes n.
func (n *node) open() error {
	if err := n.restore(); err != nil {
		return err
	}
	for _, l := range n.doors() {
		if err := n.server.Serve(l.Listener); err != nil {
			return err
		}
	}
	n.ready.Store(true)
	close(n.opened)
	n.server.Each(func(now time.Time, h *broker.Home) { h.Opened(now) })
	n.collectAsUsual()
	return nil
}

// listenBacklog is the smallest that the kernel granted; -1: it does not tell.
func (n *node) listenBacklog() int64 {
	least := int64(-1)
	for _, l := range n.doors() {
		if l.Protocol == config.ProtocolQUIC || l.Protocol == config.ProtocolUnix || len(l.Bound()) == 0 { // which have none that is known, or none
			continue
		}
		granted, known := l.Backlog()
		if !known {
			return -1
		}
		if least < 0 || int64(granted) < least {
			least = int64(granted)
		}
	}
	return least
}

// dismantle closes what assemble opened.
func (n *node) dismantle() {
	n.closeListeners()
	n.endAuthenticators()
	if n.builtin != nil {
		n.builtin.Close()
	}
	n.closeStore()
}

func (n *node) closeListeners() {
	for _, l := range n.doors() {
		l.Close()
	}
	if n.enrol.entrance != nil {
		n.enrol.entrance.Close()
	}
}

// close ends everything, as far as it was begun. Connections have until ctx is
// done to take their last packet.
func (n *node) close(ctx context.Context) {
	n.ready.Store(false)
	if n.server != nil {
		n.server.Shutdown(ctx)
		n.endAuthenticators()
		n.builtin.Close()
		n.closeStore()
	}
	n.release()
}

// stillKnown is asked when a verdict that took its time arrives: the user may
// have been deleted or got another password meanwhile, or the token been revoked.
func (n *node) stillKnown(by *auth.Principal) bool {
	if n.tokens.Judge(n.clock.Now(), by) != "" {
		return false
	}
	return by.Method != builtin.Name || n.users.StillProves(by.Username, by.Proof)
}

// usersChanged closes the connections of users who got another password, and ends
// every session of those who were deleted: a later user of the same name must not
// find one.
func (n *node) usersChanged(names []string) {
	gone := make(map[string]bool, len(names)) // identity: was it deleted?
	for _, name := range names {
		gone[name] = !n.users.Known(name)
	}
	n.server.Each(func(now time.Time, h *broker.Home) { h.Revoke(now, gone) })
}
