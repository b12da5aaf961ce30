// Package broker is where the rooms meet: connect, publish, subscribe, takeover,
// will. It says in which order the others are asked, and does none of their
// work: packets are mqtt's, one session's flow is session's, permission is
// auth's, who wants a message is router's, and sockets are conn's.
//
// A Broker is what all loops share: the subscription index, the retained store,
// the rules, the limits. A Home is what one loop owns: the sessions that live
// there, online and offline. Homes take no lock and talk to each other only by
// batches through their loops.
//
// Rules: MQTT 5.0 and 3.1.1 chapters 3 and 4. The order of every path is
// normalise, judge, act, acknowledge; nothing before the judgement has an effect
// on others.
package broker

import (
	"crypto/rand"
	"encoding/base32"
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/observe"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/limit/top"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/topic/rewrite"
)

// Settings are the limits and choices of an operator. A value is never changed
// in place: Apply swaps it whole.
type Settings struct {
	PacketLimits
	Session *session.Limits

	Subscriptions         int // per session
	WildcardSubscriptions int // per session
	SessionsTotal         int // of the node, offline ones included (A066)
	IdentityShare         int // percent that one identity may have of what is on the disk, where that is scarce; 0 and 100: all
	SubscriptionsTotal    int // of the node; 0: not limited
	Takeovers             int // of one session in a row, then one a second; 0: not limited (A057)
	Rates
	Flapping Flapping

	// Seconds.
	KeepAliveMax     uint16
	KeepAliveMaxV3   uint16
	SessionExpiryMax uint32
	WillDelayMax     uint32
	MessageExpiryMax uint32

	Versions       []mqtt.Version
	Offer                               // of entrances that are not in Entrances
	Entrances      map[string]*Entrance // by name of the listener
	DenyDisconnect bool                 // v5: a denial ends the connection
	Extensions
}

// TakeoversMax is how often a session may change its connection without a pause. A
// device that reconnects before we noticed that its old connection is dead needs
// one; two that share a client identifier throw each other out for ever, each time
// with a CONNACK, an index walk and two events.
const TakeoversMax = 20

// Extensions are what this broker does beyond the specification, or where that
// leaves the choice; the zero Extensions are none.
type Extensions struct {
	DelayMax            uint32         // of $delayed/; 0: not offered
	Rewrite             *rewrite.Rules // nil: topics are what clients call them
	SharedStrategy      router.Strategy
	AutoSubscribe       []AutoSubscription
	SysInterval         time.Duration // between publications of $SYS/broker/; 0: none
	Exclusive           bool          // $exclusive/ is offered
	Events              bool          // $events/ is published
	ServerReference     string        // where clients are sent when this broker stops; empty: nowhere
	ResponseInformation string        // told to v5 clients that ask for it; empty: nothing
	Newcomers
	MostAttribute string // the client attribute that says another Most; empty: none does
}

// PacketLimits bound a packet, before anything of it is kept.
type PacketLimits struct {
	PacketBytes        int // whole packet after CONNECT
	ConnectPacketBytes int // whole CONNECT
	UserProperties     int // per packet
	TopicLevels        int
	TopicBytes         int
	ClientIDBytes      int
}

// Broker is shared by all loops and safe for concurrent use.
type Broker struct {
	index    *router.Index
	groups   *router.Groups
	only     *router.Exclusive
	retained *retain.Store
	authz    *auth.Authorizer
	delayed  *delay.Account
	sys      func(now time.Time) []SysTopic
	log      *audit.Log
	settings atomic.Pointer[Settings]
	backing
	overload
	entrants
	top *top.Book

	homes   int
	seed    maphash.Seed
	lastSID atomic.Uint64
	totals
}

// totals are counted over all homes.
type totals struct {
	sessions   atomic.Int64
	unsaid     atomic.Int64 // sessions that ended, which the log has refused to hear
	keptOnline atomic.Int64 // of the sessions, connected and outliving the process
	hearers    atomic.Int64 // subscriptions under $events/
	subscribed atomic.Int64 // subscriptions

	had, heardOf *limit.Tally // sessions and subscriptions by identity
	crowds       crowds       // connected clients, where those are limited
}

// entrants is how clients prove who they are, and who of those may not come in all the same.
type entrants struct {
	authn atomic.Pointer[map[string]*auth.Chain] // by Peer.Chain
	known func(*auth.Principal) bool
	bans  *bans.Bans

	candidate *Candidate        // nil: none is tried
	observer  *observe.Observer // nil: nobody ever watches
}

// Options are what cmd puts together.
type Options struct {
	Homes      int // loops; at least 1
	Settings   *Settings
	Index      *router.Index
	Retained   *retain.Store
	Authorizer *auth.Authorizer
	Chains     map[string]*auth.Chain
	Log        *audit.Log
	Delayed    *delay.Account // what delayed messages may take; nil: nothing
	// Durable is where sessions with an expiry are kept; nil: in memory, like the others.
	Durable *Durable
	// Sys are the figures published under $SYS/broker/; nil: none.
	Sys func(now time.Time) []SysTopic
	// StillKnown is asked when a verdict has reached the session's home: the
	// identity may have lost its credentials while it was on its way. nil: nobody loses them.
	StillKnown func(*auth.Principal) bool
	// Bans are who is shut out; nil: nobody is.
	Bans *bans.Bans
	// Candidate is a policy that is tried beside the one in force; nil: none ever is.
	Candidate *Candidate
	// Observer is told what is judged while somebody watches; nil: nobody ever does.
	Observer *observe.Observer
}

// New makes a broker; NewHome adds its halves.
func New(o Options) *Broker {
	b := &Broker{
		index: o.Index, groups: router.NewGroups(o.Index), only: router.NewExclusive(), retained: o.Retained, authz: o.Authorizer,
		log: o.Log, entrants: entrants{known: o.StillKnown, bans: o.Bans, candidate: o.Candidate, observer: o.Observer}, sys: o.Sys, delayed: o.Delayed, homes: o.Homes, seed: maphash.MakeSeed(), totals: newTotals(), top: top.NewBook(),
	}
	if b.delayed == nil {
		b.delayed = delay.NewAccount(delay.Limits{})
	}
	o.Settings.generation = 1
	b.settings.Store(o.Settings)
	b.SetChains(o.Chains)
	b.back(o.Durable, o.Homes)
	return b
}

// Settings are those in force.
func (b *Broker) Settings() *Settings { return b.settings.Load() }

// Apply replaces the settings; s must be nobody else's. Rates and what is judged per packet
// change at once; limits of the sessions that are there with Home.SettingsChanged, which is
// to be called for every home then.
// One call at a time.
func (b *Broker) Apply(s *Settings) {
	s.generation = b.Settings().generation + 1
	b.settings.Store(s)
}

// Log is where refusals are written down.
func (b *Broker) Log() *audit.Log { return b.log }

// Top is who does most of something.
func (b *Broker) Top() *top.Book { return b.top }

// Sessions is how many sessions all homes hold.
func (b *Broker) Sessions() int { return int(b.sessions.Load()) }

// HomeOf is the loop on which a session lives, online and offline. The hash is
// keyed per process, so that nobody can choose client ids that share a loop.
func (b *Broker) HomeOf(k session.Key) int {
	if b.homes == 1 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(b.seed)
	for _, s := range []string{k.Mountpoint, k.Identity, k.ClientID} {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	return int(h.Sum64() % uint64(b.homes))
}

// newClientID is an identifier for a client that left it to us: 130 random bits
// [MQTT-3.2.2-16].
func newClientID() string {
	var b [17]byte
	_, _ = rand.Read(b[:]) // crypto/rand ends the process rather than fail
	return "auto-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:26]
}

// Report makes the gauges that only the shared half knows.
func (b *Broker) Report(r *metrics.Registry) {
	r.Gauge(metrics.Sessions, b.sessions.Load)
	r.Gauge(metrics.Subscriptions, b.subscribed.Load)
	r.Gauge(metrics.DelayedMessages, func() int64 { n, _ := b.delayed.Held(); return int64(n) })
	r.Gauge(metrics.RetainedMessages, func() int64 {
		own := b.retained.Own()
		n, _ := b.retained.Stats()
		return max(0, int64(n-own))
	})
	r.Gauge(metrics.RetainedOwn, func() int64 { return int64(b.retained.Own()) })
	r.Gauge(metrics.RetainedBytes, func() int64 { _, n := b.retained.Stats(); return n })
}
