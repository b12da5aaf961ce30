package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/client/bench"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Bench is `redoubt bench SCENARIO`.
type Bench struct {
	common
	o        bench.Options
	command  string
	interval int // milliseconds between connections
	ramp     time.Duration
	each     int // milliseconds between the messages of one publisher
	eachNext bool
	rate     float64
	idPrefix string
	topic    string
	noLine   bool
	props    []string // user properties of messages, NAME=VALUE
	resume   bool
}

// Defaults that are larger would surprise a broker with its usual limits.
const (
	benchCount      = 100
	benchFloodCount = 500
	// Memory needs many, or what each takes is lost in what the broker takes anyway.
	benchMemoryCount, benchMemoryPayload = 1000, 64
)

// NewBench declares the flags of one scenario on fs: of connections for all, and those of
// messages and of its own for those that have any.
func NewBench(fs *pflag.FlagSet, s bench.Scenario) *Bench {
	b := &Bench{command: "bench " + string(s)}
	o := &b.o
	o.Scenario, o.Count, o.Payload = s, benchCount, bench.DefaultPayload
	o.Crowd.AtOnce = bench.DefaultAtOnce
	o.Pace.WarmUp, o.Pace.Duration, o.Pace.Drain = bench.DefaultWarmUp, bench.DefaultDuration, bench.DefaultDrain
	fs.SetNormalizeFunc(normalize)
	what := map[bench.Scenario]string{bench.Pair: "pairs of a publisher and a subscriber", bench.Offline: "sessions", bench.Pub: "publishers", bench.Sub: "subscribers", bench.Flood: "sockets of strangers",
		bench.Retained: "retained messages", bench.Rogue: "clients that misbehave", bench.Memory: "what there is to be of the kind"}[s]
	if what == "" {
		what = "connections"
	}
	switch s {
	case bench.Flood:
		o.Count = benchFloodCount
	case bench.Retained:
		o.Count = bench.DefaultRetained
	case bench.Rogue:
		o.Count = 1
	case bench.Memory:
		o.Count, o.Payload = benchMemoryCount, benchMemoryPayload
	}
	switch s {
	case bench.Fan:
		fs.Var(wholeValue(&o.Fan.Out, 1, bench.CountMax, "COUNT"), "fan-out", "one publisher, and so many subscribers that all get everything")
		fs.Var(wholeValue(&o.Fan.In, 1, bench.CountMax, "COUNT"), "fan-in", "so many publishers, and one subscriber that gets everything")
		fs.Var(wholeValue(&o.Fan.Share, 1, bench.CountMax, "COUNT"), "share", "with --fan-in: so many subscribers share the subscription ($share)")
	default:
		fs.VarP(wholeValue(&o.Count, 1, bench.CountMax, "COUNT"), "count", "c", what)
	}
	fs.VarP(wholeValue(&b.interval, 0, 3600000, "MS"), "interval", "i", "milliseconds between two connections (default 0: as fast as possible)")
	fs.Var(durationValue(&b.ramp, false), "ramp", "spread the connections evenly over this time, in place of -i")
	fs.Var(wholeValue(&o.Crowd.AtOnce, 1, bench.CountMax, "COUNT"), "connecting", "most connections that are not yet accepted")
	fs.StringVarP(&b.topic, "topic", "t", "bench", "`TOPIC` that all topics begin with")
	fs.StringVarP(&b.idPrefix, "id-prefix", "I", "", "what all client ids begin with (default bench- and a random number)")
	if s == bench.Conn {
		fs.Var(durationValue(&o.Crowd.Hold, true), "hold", "stay connected so long")
		fs.BoolVar(&o.Crowd.Subscribe, "subscribe", false, "one subscription for each")
	}
	if s == bench.Conn {
		fs.BoolVar(&b.resume, "resume", false, "TLS: each but the first goes on with the session of one before, as a device that comes back")
	}
	if s == bench.Conn || s == bench.Pair {
		fs.Var(wholeValue(&o.Filters, 1, 100000, "COUNT"), "wildcards", "so many wildcard filters for each subscriber; with pair, a message matches one of all")
	}
	switch s {
	case bench.Conn:
	case bench.Memory:
		b.memory(fs)
	default:
		b.messages(fs, s)
	}
	fs.IntVar(&o.Process, "pid", 0, "`PID` of the broker, on this machine: its processor time and memory are in the result")
	fs.BoolVar(&o.Portable, "goroutines", false, "a goroutine for each connection, also for TCP on Linux")
	fs.BoolVar(&b.noLine, "no-progress", false, "no line of progress")
	b.registerConnection(fs)
	return b
}

const collectHelp = "have the broker collect garbage (SIGUSR1 to --pid) before its memory is read; for Redoubt: others may end by it"

// memory declares the flags of what the broker is made to keep.
func (b *Bench) memory(fs *pflag.FlagSet) {
	m := &b.o.Memory
	m.Kind, m.Settle, m.Visitors = bench.OfConnection, bench.DefaultSettle, bench.DefaultVisitors
	fs.Var(&choice{text: string(m.Kind), kind: "connection|exact|wildcard|retained|session|queued", parse: func(v string) error {
		k, err := bench.ParseMemoryKind(v)
		m.Kind = k
		return err
	}}, "kind", "connections with one subscription, subscriptions without and with a wildcard, retained messages, sessions that are away, messages that wait for those")
	fs.Var(durationValue(&m.Settle, false), "settle", "memory has settled when it did not fall for so long; two seconds when it has fallen much")
	fs.Var(wholeValue(&m.Visitors, 0, bench.CountMax, "COUNT"), "visitors", "who connect, stay six seconds and leave before memory is read, so that a broker that collects when a storm is over does")
	fs.BoolVar(&m.Collect, "collect", false, collectHelp)
	fs.VarP(wholeValue(&b.o.Payload, bench.StampBytes, bench.PayloadMax, "BYTES"), "payload-size", "S", "size of a payload")
	b.o.Pace.Window = bench.DefaultWindow
}

// messages declares the flags of what is sent.
func (b *Bench) messages(fs *pflag.FlagSet, s bench.Scenario) {
	o := &b.o
	fs.VarP(qosValue(&o.QoS), "qos", "q", "QoS of messages and subscriptions")
	if s != bench.Sub {
		fs.VarP(wholeValue(&o.Payload, bench.StampBytes, bench.PayloadMax, "BYTES"), "payload-size", "S", "size of a payload")
		fs.VarP(wholeValue(&o.Pace.Window, 1, 65535, "COUNT"), "inflight", "M", "messages of a publisher that may be under way (default 10; 1000 with --rate), and never more than the broker's Receive Maximum")
	}
	switch s {
	case bench.Offline:
		o.Offline.Messages, o.Offline.Publishers = bench.DefaultOfflineMessages, bench.DefaultOfflinePublishers
		fs.Var(wholeValue(&o.Offline.Messages, 1, bench.CountMax, "COUNT"), "messages", "messages for each session")
		fs.Var(wholeValue(&o.Offline.Publishers, 1, 10000, "COUNT"), "publishers", "who publish them")
		fs.BoolVar(&o.Offline.Keep, "keep", false, "leave the sessions with the broker, for an hour")
		fs.BoolVar(&o.Offline.Undrained, "undrained", false, "end when all is published: the sessions stay, and so do their messages")
		fs.BoolVar(&o.Offline.Killed, "killed", false, "the broker is killed while messages are published, by you: wait until it is back, and see what is left")
		fs.Var(durationValue(&o.Pace.Drain, false), "drain", "longest silence before what is missing is lost")
		return
	case bench.Retained:
		o.Retained.Times = 1
		fs.Var(wholeValue(&o.Retained.Times, 0, 1000, "COUNT"), "times", "how often a client subscribes to all of them, one time after the other")
		fs.BoolVar(&o.Retained.Keep, "keep", false, "leave the messages with the broker")
		fs.Var(durationValue(&o.Pace.Drain, false), "drain", "longest silence before what is missing is lost")
		return
	case bench.Rogue:
		o.Rogue = bench.Fast
		fs.Var(&choice{text: string(bench.Fast), kind: "fast|unread|dawdles|aliases|filters", parse: func(v string) error {
			k, err := bench.ParseRogueKind(v)
			o.Rogue = k
			return err
		}}, "kind", "publish with QoS 0 as fast as the socket takes it; subscribe to everything and read nothing, or a little now and then; bind every topic alias again and again; subscribe to filters without an end")
		fs.Var(durationValue(&o.Pace.Duration, false), "duration", "how long")
		return
	case bench.Flood:
		b.rate = bench.DefaultFloodRate
		o.Flood.Bystanders = bench.DefaultBystanders
		o.Flood.Kind = bench.Silent
		o.Flood.Last = true
		fs.Var(&choice{text: string(bench.Silent), kind: "silent|slow|half-hello|stalled", parse: func(v string) error {
			k, err := bench.ParseFloodKind(v)
			o.Flood.Kind = k
			return err
		}}, "kind", "strangers that say nothing, send a CONNECT byte by byte, begin a TLS handshake and stop in its first message, or after it")
		fs.Var(wholeValue(&o.Flood.Bystanders, 1, 10000, "COUNT"), "bystanders", "pairs whose latency is told before and during")
		fs.Var(durationValue(&o.Flood.Before, false), "before", "how long to measure them alone (default: as --duration)")
		fs.BoolVar(&o.Flood.Collect, "collect", false, collectHelp)
	}
	if s != bench.Sub {
		fs.Var(rateValue(&b.rate), "rate", "messages a second of all publishers together; latency counts from when each is sent, or was to be where the broker left no room for it (default: as fast as the windows allow)")
		fs.Var(wholeValue(&b.each, 1, 3600000, "MS"), "message-interval", "milliseconds between two messages of one publisher, in place of --rate; -im MS is the same")
		fs.Var(durationValue(&o.Pace.Drain, false), "drain", "longest silence after the end before what is missing is lost")
	}
	if s == bench.Pair || s == bench.Pub || s == bench.Fan {
		fs.StringArrayVar(&b.props, "user-property", nil, "user property of each message, `NAME=VALUE` (MQTT 5.0); may be repeated")
		fs.BoolVar(&o.TopicAlias, "topic-alias", false, "name the topic in full once, and by a topic alias from then on (MQTT 5.0)")
	}
	fs.Var(durationValue(&o.Pace.Duration, false), "duration", "how long to measure")
	fs.Var(durationValue(&o.Pace.WarmUp, true), "warm-up", "how long before that messages flow and are not measured")
	// MQTTX has a flag of two letters. What a parser makes of it is -i with the value m, and an
	// argument.
	interval := fs.Lookup("interval")
	plain := interval.Value
	interval.Value = &choice{kind: plain.Type(), parse: func(v string) error {
		if v == "m" && s != bench.Sub {
			b.eachNext = true
			return nil
		}
		return plain.Set(v)
	}}
}

func rateValue(p *float64) pflag.Value {
	text := ""
	if *p != 0 {
		text = strconv.FormatFloat(*p, 'f', -1, 64)
	}
	return &choice{text: text, kind: "MSG/S", parse: func(s string) error {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f > 0) || f > 1e8 {
			return usage("%q is not a number of messages a second, more than 0 and at most 100000000", s)
		}
		*p = f
		return nil
	}}
}

// Run does it. args are the arguments the flag parser left over. A nil answer is success;
// any other is an *Exit.
func (b *Bench) Run(ctx context.Context, args []string, d Defaults, in IO) error {
	out := newPrinter(in, b.command, false)
	if err := b.plan(args, d, in); err != nil {
		return out.fail(withUsage(b.command, err))
	}
	b.warnPlaintext(out, &b.o.Client)
	line := &benchLine{p: out, on: in.Watched && !b.noLine}
	b.o.Progress = line.tell
	rep, err := bench.Run(ctx, b.o)
	line.end()
	if rep != nil {
		if e := b.print(out, rep); e != nil {
			return out.fail(e)
		}
	}
	var e *client.Error
	if errors.As(err, &e) && e.Kind == client.KindOptions {
		err = withUsage(b.command, err)
	}
	return out.fail(err)
}

// plan judges the flags before anything is sent.
func (b *Bench) plan(args []string, d Defaults, in IO) error {
	o := &b.o
	if b.eachNext && len(args) > 0 {
		if err := wholeValue(&b.each, 1, 3600000, "MS").Set(args[0]); err != nil {
			return fmt.Errorf("-im: %w", err)
		}
		args = args[1:]
	}
	inURL := ""
	var err error
	if o.Client, inURL, err = b.options(args, d, in); err != nil {
		return err
	}
	switch {
	case inURL != "" && b.given("topic"):
		return usage("-L already names the topic: leave out -t, or the topic in the URL")
	case inURL != "":
		b.topic = inURL
	}
	if b.each > 0 && b.given("rate") {
		return usage("--rate and --message-interval (-im) both say how fast to send: give one of them")
	}
	if b.ramp > 0 && b.interval > 0 {
		return usage("--ramp and -i both say how fast to connect: give one of them")
	}
	if err := client.VerifyOutgoing(&client.Outgoing{Topic: b.topic}, o.Client.Connect.Version); err != nil {
		return err
	}
	for _, text := range b.props {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return usage("--user-property %q is not NAME=VALUE", text)
		}
		o.UserProperties = append(o.UserProperties, mqtt.UserProperty{Name: name, Value: value})
	}
	if b.resume {
		if o.Client.TLS == nil {
			return usage("--resume is about TLS, and this port is to be plaintext")
		}
		o.Client.TLS.Resume = true
	}
	o.Topic, o.IDPrefix = b.topic, b.idPrefix
	o.Pace.Rate = b.rate
	o.Crowd.Interval = time.Duration(b.interval) * time.Millisecond
	if b.each > 0 {
		o.Pace.Rate = float64(o.Publishers()) * 1000 / float64(b.each)
	}
	if b.ramp > 0 {
		o.Crowd.Interval = b.ramp / time.Duration(max(o.Publishers(), o.Subscribers()))
	}
	return nil
}
