package harden

import (
	"context"
	"crypto/tls"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Env is what checks look at. It belongs to one run. Entrances are judged several at a
// time; all else is done one after the other.
type Env struct {
	Clock  clock.Clock
	Config *config.Config // as the broker would load it
	File   string         // the configuration file; empty: built-in defaults
	// Broker is the running broker, nil if none answers; NoBroker then says why.
	Broker   Broker
	NoBroker string
	// Proc is where the process file system is mounted; empty: /proc.
	Proc string
	// Sys is where the kernel shows its control groups; empty: /sys.
	Sys string
	// Host is what is asked of the machine by calls; nil: the machine itself.
	Host Host
	// Step bounds one step of a probe: a connection, a handshake, an answer. Zero:
	// StepDefault.
	Step time.Duration
	// GoodCert and RevokedCert are certificates of clients by a CA whose key is
	// elsewhere, for listeners that ask for one; nil: there are none.
	GoodCert, RevokedCert *tls.Certificate
	// DenyGood: nobody but the run has GoodCert, so that the broker may deny it for a minute.
	DenyGood bool
	// Baseline is what kind of node this is; empty: Internet.
	Baseline Baseline
	// Place is where a key of the configuration is written; nil: nobody knows.
	Place func(key string) config.Origin
	// Targets are more addresses by which clients reach the broker, beside those that the
	// configuration names; config.ParseAdvertised takes each.
	Targets []string
	// Outside is what somebody on another host has seen of this one; nil: nothing.
	Outside *Outside
	// Quiet: nothing may be connected to. What only a probe could tell is then left to a run
	// that may.
	Quiet bool
	// Lookup finds the addresses of a host name; nil: the resolver of the system.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	// refusals is what refusals are timed by; nil: Clock. Tests have their own, because a
	// machine that runs them does much else.
	refusals clock.Clock

	seen seen
}

// StepDefault is how long a probe waits for one answer. A broker on the same host
// answers in milliseconds; this is for one that is busy.
const StepDefault = 5 * time.Second

// Broker is the administration of a running broker, as far as checks need it.
type Broker interface {
	// Report says who is running and what it holds.
	Report(ctx context.Context) (BrokerReport, error)
	// AddProbe makes an ordinary user that ends by itself, with no rights, or with
	// the right to exactly one random topic.
	AddProbe(ctx context.Context, grant bool) (ProbeUser, error)
	// AddProbeBeside makes one with the same right as another that has one.
	AddProbeBeside(ctx context.Context, name string) (ProbeUser, error)
	// EndGrant takes that right away; what the user has open stays open.
	EndGrant(ctx context.Context, name string) error
	// EndProbe ends one before its time.
	EndProbe(ctx context.Context, name string) error
	// DenyProbe has the broker deny certificates, by what revoke.FingerprintID says of them,
	// for a minute: new connections are judged so when it returns, and those there are, soon.
	DenyProbe(ctx context.Context, fingerprints []string) error
	// Chains tries the chain of each listener on a client who does not exist, with stand-ins in
	// the places of its authenticators.
	Chains(ctx context.Context) ([]ChainTrial, error)
	// EndBan lifts the ban of a client identifier.
	EndBan(ctx context.Context, clientID string) error
	// ClientUser is who the broker takes a connected client for.
	ClientUser(ctx context.Context, clientID string) (string, error)
	// Refused is who refused the CONNECT of a client lately, and why.
	Refused(ctx context.Context, clientID string) (RefusedConnect, error)
	// Access asks the rules in force, and does nothing.
	Access(ctx context.Context, q AccessQuestion) (AccessAnswer, error)
	// Rules are those in force that are the same for all clients, in the order in which they
	// are judged, each on one line in the words of a rules file, with where it stands.
	Rules(ctx context.Context) ([]string, error)
}

// BrokerReport is a running broker's own account, and the kernel's about it.
type BrokerReport struct {
	Node      string
	Version   string
	PID, UID  int // of the process at the other end of the administration socket, as the kernel says
	Listeners []ListenerReport
	Limits    Limits
	// ConnectionsMax is how many connections are let in altogether, as it is in force.
	ConnectionsMax int64
	Rates          map[string]Rate // of each listener's clients, by its name
	Stopped        []StoppedListener
	Draining       []DrainingSocket
	Flapping       Flapping
	// Settings are all keys in force, each with its value as a file would have it and secrets
	// by reference; nil: the broker did not say.
	Settings map[string]string
	// StoreBytes is what the store takes of StoreBytesMax; 0: no bound is known.
	StoreBytes, StoreBytesMax int64
}

// ListenerReport is one address the broker says it listens on.
type ListenerReport struct {
	Name     string
	Address  string // host:port; the path of a unix socket
	Protocol string // as the configuration has it; https: of enrolment
}

// Limits are the limits in force, as the running process holds them.
type Limits struct {
	PacketBytes             int64
	ConnectPacketBytes      int64
	TopicLevels             int64
	TopicBytes              int64
	ClientIDBytes           int64
	UserProperties          int64
	Inflight                int64
	AwaitingRel             int64
	MqueueMessages          int64
	MqueueBytes             int64
	Subscriptions           int64
	WildcardSubscriptions   int64
	TopicAliases            int64
	SessionExpiryMaxSeconds int64
	ConnectDeadlineMillis   int64
}

// ProbeUser is an ordinary user made for a probe.
type ProbeUser struct {
	Name   string
	Secret secret.Value
	Topic  string // granted, with everything below it; empty: no grant
}

// seen is what one run has found out and does not ask again.
type seen struct {
	report    *BrokerReport
	reportErr error
	sockets   *sockets
	tcp       *sockets // that listen in the network of the broker, whoever's they are
	served    map[servedKey]*shown
	pace      *pace                    // of a look in the background; nil: no rests
	paused    time.Duration            // while nothing was done, between two looks at the same
	at        atomic.Pointer[lookedAt] // what is looked at now

	descriptors *descriptors
	threads     *threads

	mu       sync.Mutex                  // guards what follows
	nextDial time.Time                   // not before; see pace
	mark     string                      // of this run; see clientID
	certs    map[string]*tls.Certificate // of users of the run; see withCert
}

// procOfKernel is where the process file system is.
const procOfKernel = "/proc"

func (e *Env) proc() string {
	if e.Proc != "" {
		return e.Proc
	}
	return procOfKernel
}

func (e *Env) step() time.Duration {
	if e.Step > 0 {
		return e.Step
	}
	return StepDefault
}

// deadline is when a step that begins now is given up.
func (e *Env) deadline(ctx context.Context) time.Time {
	until := e.Clock.Now().Add(e.step())
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		return d
	}
	return until
}
