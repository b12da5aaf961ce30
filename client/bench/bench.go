// Package bench is the load that `redoubt bench` puts on a broker, and what it
// measures: connections, messages and latencies, and which messages were lost,
// came twice or came out of order.
//
// A run is one goroutine, whatever the number of clients: an engine moves bytes,
// a peer is one client as a state machine, and a scenario says who subscribes to
// what and who publishes. TCP and TLS on Linux have an engine with an event loop,
// without a goroutine for a connection and without an allocation for a message, so
// that what is measured is the broker; everything else has one with goroutines.
//
// It is no client for anything else: peers do not reconnect and messages are
// never sent again. Flags and output are package cli's; failures that a person
// has to understand are those of package client, which makes the first
// connection of every run. docs/cli-bench.md is what it promises.
package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Scenario is who does what.
type Scenario string

// The scenarios.
const (
	Conn    Scenario = "conn"    // connect, and stay
	Pub     Scenario = "pub"     // publishers only
	Sub     Scenario = "sub"     // subscribers only
	Pair    Scenario = "pair"    // a subscriber for each publisher
	Fan     Scenario = "fan"     // one to many, or many to one
	Offline Scenario = "offline" // to sessions that are away, and then come back
	Flood   Scenario = "flood"   // strangers that never say who they are, and what they do to others
	// Retained is retained messages, and who subscribes to all of them.
	Retained Scenario = "retained"
	Rogue    Scenario = "rogue"  // clients that are known and misbehave
	Memory   Scenario = "memory" // what one of many takes of the broker's memory
)

// Options say what to do. Zero values of Pace and Crowd mean what Defaults says.
type Options struct {
	Client   client.Options // where to connect and as whom; its client id is not used
	Scenario Scenario
	Count    int    // connections, pairs or sessions
	IDPrefix string // of client ids
	Topic    string // what all topics begin with
	QoS      mqtt.QoS
	Payload  int // bytes
	Crowd    Crowd
	Pace     Pace
	Fan      FanShape
	// Filters is how many wildcard filters each subscriber holds besides, of which one
	// matches what its publisher sends. 0: an exact filter.
	Filters int
	Offline OfflineShape
	Flood   FloodShape
	Extra
	Memory MemoryShape
	// Process is the broker's, on this machine, whose processor time and memory are
	// measured. 0: none.
	Process  int
	Portable bool // the engine with goroutines, also where the other could do it
	// Progress is called once a second. nil: nobody.
	Progress func(Progress)
}

// Extra is what few runs need.
type Extra struct {
	Retained RetainedShape
	Rogue    RogueKind
	// UserProperties go with each message, and TopicAlias names the topic of all but the first
	// of a publisher by an alias. Both are of MQTT 5.0.
	UserProperties []mqtt.UserProperty
	TopicAlias     bool
}

// Crowd is how connections begin.
type Crowd struct {
	Interval time.Duration // between two; 0: as fast as possible
	AtOnce   int           // most that are not yet ready
	Hold     time.Duration // conn: how long all stay
	// Subscribe gives each connection of conn one subscription.
	Subscribe bool
}

// Pace is how messages are sent.
type Pace struct {
	Window   int     // messages of one publisher that may be under way
	Rate     float64 // messages a second of all publishers together; 0: as the window allows
	WarmUp   time.Duration
	Duration time.Duration // that is measured
	Drain    time.Duration // longest silence after the end before what is missing is lost
}

// FanShape is who sends to whom in Fan.
type FanShape struct {
	In    int // publishers to one subscriber
	Out   int // subscribers to one publisher
	Share int // In: that many subscribers share the subscription; 0 and 1: one, which does not
}

// OfflineShape is what waits for sessions that are away.
type OfflineShape struct {
	Messages   int // for each session
	Publishers int
	Keep       bool // leave the sessions with the broker
	// Undrained ends the run when all is published: the sessions stay with the broker, and so
	// do their messages.
	Undrained bool
	// Killed says that the broker ends while messages are published. Its return is waited for.
	Killed bool
}

// FloodShape is what strangers do.
type FloodShape struct {
	Kind       FloodKind
	Bystanders int           // pairs
	Before     time.Duration // that they are measured alone; 0: as long as during
	// Last has all threads of the process but the bystanders' run only when nobody else wants to, from
	// when the strangers come until it ends: three thousand of them who come back at once are measured as
	// the broker's latency otherwise. It is for a process of its own, on Linux.
	Last bool
	// Collect asks the broker (SIGUSR1) to collect garbage before its memory is read, both times. It is for
	// Redoubt: others do something else then, or end.
	Collect bool
}

// Defaults of a run.
const (
	DefaultWindow   = 10
	DefaultAtOnce   = 64
	DefaultWarmUp   = time.Second
	DefaultDuration = 10 * time.Second
	DefaultDrain    = 3 * time.Second
	DefaultPayload  = 256
	// PayloadMax and CountMax keep a typing error from taking the machine with it.
	PayloadMax = 16 << 20
	CountMax   = 1_000_000
	windowMax  = 65535
)

func usage(format string, args ...any) error {
	return &client.Error{Kind: client.KindOptions, What: fmt.Sprintf(format, args...)}
}

// complete fills in what was left zero, and refuses what makes no sense.
func (o *Options) complete() error {
	p, c := &o.Pace, &o.Crowd
	if p.Window == 0 {
		p.Window = DefaultWindow
		if p.Rate > 0 {
			p.Window = 1000 // a rate is to be kept; the broker's Receive Maximum may be less
		}
	}
	if p.Duration == 0 {
		p.Duration = DefaultDuration
	}
	if p.Drain == 0 {
		p.Drain = DefaultDrain
	}
	if c.AtOnce == 0 {
		c.AtOnce = DefaultAtOnce
	}
	if o.Topic == "" {
		o.Topic = "bench"
	}
	switch {
	case o.Count < 1 || o.Count > CountMax:
		return usage("%d connections is out of range (1 to %d)", o.Count, CountMax)
	case o.Payload < StampBytes || o.Payload > PayloadMax:
		return usage("a payload of %d bytes is out of range: from %d, which say run, publisher, number and time, to %d", o.Payload, StampBytes, PayloadMax)
	case p.Window < 1 || p.Window > windowMax:
		return usage("a window of %d messages is out of range (1 to %d)", p.Window, windowMax)
	case p.Rate < 0:
		return usage("a rate of %v messages a second makes no sense", p.Rate)
	case o.Client.QUIC:
		return usage("QUIC is not built here; use mqtts, mqtt, wss or ws")
	case (o.TopicAlias || len(o.UserProperties) > 0 || o.Rogue == Aliases) && o.Client.Connect.Version != mqtt.V5 && o.Client.Connect.Version != 0:
		return usage("topic aliases and user properties are of MQTT 5.0: leave out -V")
	case o.Client.Connect.Will != nil:
		return usage("clients of the bench have no will")
	case o.Publishers() > publishersMax:
		return usage("%d publishers are more than a payload can tell apart (%d)", o.Publishers(), publishersMax)
	}
	if _, resident := processUse(o.Process); o.Process != 0 && resident == 0 {
		return usage("process %d cannot be read (--pid): is it the broker's, does it run, and on this machine?", o.Process)
	}
	return o.completeScenario()
}

func (o *Options) completeScenario() error {
	switch o.Scenario {
	case Fan:
		switch {
		case (o.Fan.In > 0) == (o.Fan.Out > 0):
			return usage("either many publish to one (--fan-in N) or one to many (--fan-out N)")
		case o.Fan.Share > 0 && o.Fan.In == 0:
			return usage("subscribers share what many publish: --share needs --fan-in")
		}
	case Offline:
		switch {
		case o.QoS == 0:
			return usage("nothing of QoS 0 waits for a session that is away: use -q 1 or -q 2")
		case o.Offline.Undrained && o.Offline.Killed:
			return usage("--undrained ends before the broker could come back: leave out --killed")
		}
	case Flood:
		return o.Flood.verify(o)
	case Retained:
		return o.Retained.verify(o)
	case Rogue:
		_, err := ParseRogueKind(string(o.Rogue))
		return err
	case Memory:
		return o.Memory.verify(o)
	case Conn, Pub, Sub, Pair:
	default:
		return usage("%q is none of the scenarios", o.Scenario)
	}
	return nil
}

// Publishers is how many there are.
func (o *Options) Publishers() int {
	switch o.Scenario {
	case Pub, Pair:
		return o.Count
	case Fan:
		return max(o.Fan.In, 1)
	case Flood:
		return o.Flood.Bystanders
	case Offline:
		return min(o.Offline.Publishers, o.Count)
	case Retained:
		return min(DefaultOfflinePublishers, o.Count)
	case Memory:
		return o.Memory.publishers(o.Count)
	}
	return 0
}

// Subscribers is how many there are; of Conn and Offline all clients, and their sessions.
func (o *Options) Subscribers() int {
	switch o.Scenario {
	case Conn, Sub, Pair, Offline:
		return o.Count
	case Retained:
		return 1
	case Fan:
		if o.Fan.Out > 0 {
			return o.Fan.Out
		}
		return max(o.Fan.Share, 1)
	case Flood:
		return o.Flood.Bystanders
	case Memory:
		return o.Memory.subscribers(o.Count)
	}
	return 0
}

// connections is how many there are at a time.
func (o *Options) connections() int {
	n := o.Publishers() + o.Subscribers()
	switch o.Scenario {
	case Offline:
		if o.Offline.Undrained { // they come in waves, and not back
			n = o.Publishers() + min(o.Subscribers(), sessionsOfWave)
		}
	case Flood, Rogue:
		n += o.Count
	case Memory:
		if o.Memory.durable() {
			n = o.Publishers() + min(o.Subscribers(), sessionsOfWave)
		}
		n += o.Memory.Visitors
	}
	return n
}

// Run does what o says. A report comes with some errors, too: what was measured before.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := enoughFiles(o.connections()); err != nil {
		return nil, err
	}
	r, err := newRun(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer r.eng.end()
	switch o.Scenario {
	case Conn:
		err = r.connect(ctx)
	case Offline:
		err = r.offline(ctx)
	case Flood:
		err = r.flood(ctx)
	case Retained:
		err = r.retained()
	case Rogue:
		err = r.rogue(ctx)
	case Memory:
		err = r.memory(ctx)
	default:
		err = r.load(ctx)
	}
	report := r.report()
	switch {
	case errors.Is(err, errInterrupted) && !report.Measured():
		return nil, &client.Error{Kind: client.KindInterrupted, What: "interrupted before there was anything to measure"}
	case errors.Is(err, errInterrupted):
		report.Interrupted, err = true, nil
	case err != nil && !report.Measured():
		return nil, err
	}
	if err == nil {
		err = report.verdict()
	}
	return report, err
}
