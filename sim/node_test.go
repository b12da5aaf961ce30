package sim

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
)

// node is one machine: its disk stays when its process ends.
type node struct {
	w    *world
	name string
	disk *vfs.MemFS
	skew time.Duration // of its clock
	slow int           // steps for which its disk does nothing
	up   bool

	// Of the present process.
	log   *replica
	view  *view.View
	b     *broker.Broker
	home  *broker.Home
	wire  *wire
	reads []func()
	conns uint32
}

// clock is the time by this node.
func (n *node) clock() time.Time { return n.w.now.Add(n.skew) }

// start begins a process. It catches up with the log before it lets anybody in.
func (n *node) start() {
	n.w.processes++
	n.log = newReplica(n.w.log)
	v, err := view.Open(context.Background(), view.Options{Log: n.log, Folder: "view", FS: n.disk, Alarm: n.alarm})
	if err != nil {
		n.w.fatal("%s does not start: %v", n.name, err)
	}
	n.view, n.reads, n.conns = v, nil, 0
	n.wire = &wire{links: make(map[broker.ConnRef]*link)}
	count := metrics.New()
	n.b = broker.New(broker.Options{
		Homes: 1, Settings: settings(), Index: router.New(), Retained: retain.New(retain.Options{MessagesMax: 10_000, BytesMax: 64 << 20, Rows: broker.RetainedRows(v), MemoryMax: 200}),
		Authorizer: auth.NewAuthorizer(n.w.policy), Log: audit.New(slog.New(slog.NewTextHandler(io.Discard, nil)), count.NewShard()),
		Durable: &broker.Durable{
			Log: n.log, Index: v, Key: v.Key(), Node: n.name,
			Do:         func(read func()) { n.reads = append(n.reads, read) },
			Everywhere: n.w.everywhere, Process: n.w.processes,
		},
	})
	n.home = n.b.NewHome(0, n.wire, count.NewShard(), n.clock())
	stored := broker.Stored{Applied: v.Applied(), Ended: n.clock()}
	if err := v.Sessions(func(s *view.Session) error { stored.Sessions = append(stored.Sessions, s); return nil }); err != nil {
		n.w.fatal("%s: %v", n.name, err)
	}
	n.b.Know(stored.Sessions)
	n.home.Restore(n.clock(), &stored)
	n.home.Restored(n.clock(), nil)
	v.Run(n.b)
	n.log.settle()
	n.up = true
}

// alarm is told by the view, on its goroutine, which must not end there.
func (n *node) alarm(what string, err error) {
	n.w.t.Errorf("seed %d: %s: %s: %v", n.w.seed, n.name, what, err)
}

// crash ends the process with no word to anybody. Of what it said to the log some may
// arrive later, and of its disk only what was synced is sure to be there.
func (n *node) crash(rnd *rand.Rand) {
	// How much there is to draw for depends on what Pebble did beside, so it draws for itself.
	own := rand.New(rand.NewPCG(rnd.Uint64(), 1)) //nolint:gosec // a test
	n.disk = n.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: own})
	n.log.end(rnd.IntN(3))
	_ = n.view.Close() // its disk is not the one that is left
	n.up = false
}

// turn ends a turn of its loop.
func (n *node) turn() {
	in := n.wire.inbox
	n.wire.inbox = nil
	for _, b := range in {
		n.home.Receive(n.clock(), b)
	}
	n.home.Turn(n.clock())
}

// read lets one of the reads run that were asked for.
func (n *node) read(rnd *rand.Rand) bool {
	if len(n.reads) == 0 {
		return false
	}
	i := rnd.IntN(len(n.reads))
	read := n.reads[i]
	n.reads = slices.Delete(n.reads, i, i+1)
	n.wire.read(read)
	return true
}

// room tells it that the log takes something again, if it was told otherwise.
func (n *node) room() (any bool) {
	n.log.mu.Lock()
	any = n.log.refused && len(n.log.waiting) < n.log.most
	n.log.refused = n.log.refused && !any
	n.log.mu.Unlock()
	if any {
		n.b.Room()
	}
	return any
}

// applied is how far its view is.
func (n *node) applied() store.Seq { return n.view.Applied() }

// settings are those of all nodes: small windows, so that sessions fall behind.
func settings() *broker.Settings {
	return &broker.Settings{
		Session:       &session.Limits{InflightMax: 6, MqueueMessages: 5000, MqueueBytes: 64 << 20, AwaitingRelMax: 100, ReceiveMaximum: 32, AliasInMax: 32, AliasOutMax: 32, Account: session.NewAccount(1 << 30)},
		PacketLimits:  broker.PacketLimits{PacketBytes: 1 << 20, ConnectPacketBytes: 16 << 10, UserProperties: 64, TopicLevels: 10, TopicBytes: 1024, ClientIDBytes: 256},
		Subscriptions: 1000, WildcardSubscriptions: 20, SessionsTotal: 10_000, KeepAliveMax: 300, KeepAliveMaxV3: 3600, SessionExpiryMax: 3600,
		WillDelayMax: 3600, MessageExpiryMax: 3600, Versions: []mqtt.Version{mqtt.V311, mqtt.V5},
		Offer: broker.Offer{MaxQoS: 2, RetainAvailable: true, WildcardAvailable: true, SharedAvailable: true},
	}
}

// openRules allow everything below open/.
func openRules() (*auth.Policy, error) {
	return rules.Parse("rules.yaml", []byte("version: 1\nrules:\n  - {allow: all, topics: [\"open/#\"]}\n"))
}
