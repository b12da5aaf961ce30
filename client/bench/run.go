package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/mqtt"
)

// run is one run.
type run struct {
	opt     *Options
	eng     engine
	ctx     context.Context
	origin  time.Time
	unix    int64 // of origin, in nanoseconds
	now     int64 // nanoseconds since origin, as of the last thing that happened
	version mqtt.Version
	crowd   crowd
	flow
	result result
	opener *client.Opener
	wake   wakes
	// aliasesMax is how many topic aliases the broker takes.
	aliasesMax uint16
}

// flow is the messages of a run.
type flow struct {
	id       uint32 // of the run, 24 bits
	payload  []byte
	message  mqtt.Publish // the one that is being read
	pubs     []*peer
	subs     []*peer
	fan      int  // deliveries for each message; 0: nobody listens
	own      bool // each publisher has a subscriber of its own
	window   int
	silent   bool // nothing more is sent
	paceFrom int64
	paced    uint64 // messages that were due since then
	track    tracker
	ledger   *ledger // of Offline, Retained and Memory
	topic    []byte  // of the message that the ledger sends
	total    counts
	hist     *Hist // nil: nothing is measured now
	tardy    *Hist // how much later than due we sent what the broker had room for; nil as hist
	rested   int64 // nanoseconds that what is being read had been there, as the system has it, before we came to read it
}

// counts are of the whole run.
type counts struct {
	sent, acked, refused        uint64
	delivered, twice, late      uint64
	foreign                     uint64 // messages that are not of this run
	stalls                      uint64
	refusals                    map[string]int
	lastDelivery, lastDelivered int64
}

// wakes are what is done now and then.
type wakes struct {
	progress, ping int64
	pinged         int
	delivered      uint64 // at the last progress
	sent           uint64
}

var errInterrupted = errors.New("interrupted")

// newRun makes the first connection, by which it learns what the broker allows and fails in
// words, and then the engine.
func newRun(ctx context.Context, o *Options) (*run, error) {
	r := &run{opt: o, ctx: ctx}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	r.id = binary.BigEndian.Uint32(b[:]) & idMask
	if o.IDPrefix == "" {
		o.IDPrefix = "bench-" + hex.EncodeToString(b[4:]) + "-"
	}
	k := &o.Client.Connect
	k.ReceiveMaximum = 65535 // what reaches us is acknowledged at once
	k.ClientID = o.IDPrefix + "0"
	err := r.probe(ctx)
	if err != nil {
		return nil, err
	}
	dialed := o.Client
	if dialed.TLS != nil && o.looped() {
		if dialed.DialContext == nil {
			dialed.DialContext = (&net.Dialer{}).DialContext
		}
		dialed.DialContext = wired(dialed.DialContext)
	}
	if r.opener, err = client.NewOpener(dialed); err != nil {
		return nil, err
	}
	o.Client = r.opener.Options()
	r.version = o.Client.Connect.Version
	r.origin = o.Client.Clock.Now()
	r.unix = r.origin.UnixNano()
	r.payload = make([]byte, o.Payload)
	for i := range r.payload {
		r.payload[i] = 'a' + byte(i%23)
	}
	r.total.refusals = make(map[string]int)
	r.crowd.init(r)
	return r, r.engine(ctx)
}

// looped tells whether the event loop can do it, where there is one.
func (o *Options) looped() bool {
	return o.Client.WebSocket == "" && o.Client.Socket == "" && !o.Portable
}

func (r *run) engine(ctx context.Context) error {
	c := &r.opt.Client
	if r.opt.looped() {
		fast, err := newFast(ctx, r, r.opt.connections(), r.opt.Pace.Rate > 0)
		if err != nil {
			return fmt.Errorf("the event loop: %w", err)
		}
		if r.eng = fast; fast != nil {
			return nil
		}
	}
	r.eng = newGoroutines(func(ctx context.Context) (net.Conn, error) { return r.opener.Open(ctx) }, c.ConnectTimeout, r.tick)
	return nil
}

// probe makes a connection of package client's and ends it again.
func (r *run) probe(ctx context.Context) error {
	o := r.opt.Client
	c, err := client.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	a := c.Connack()
	r.window = r.opt.Pace.Window
	if m := int(a.ReceiveMaximum); m > 0 && r.opt.QoS > 0 {
		r.window = min(r.window, m)
	}
	if m := int(a.MaximumPacketSize); m > 0 && r.opt.Payload+len(r.opt.Topic)+64 > m {
		return usage("the broker takes packets of %d bytes, and a payload of %d does not fit", m, r.opt.Payload)
	}
	if r.aliasesMax = a.TopicAliasMaximum; r.opt.TopicAlias && r.aliasesMax < aliasOfAll {
		return &client.Error{Kind: client.KindUnsupported, What: "the broker takes no topic aliases: leave out --topic-alias"}
	}
	if a.MaximumQoS != nil && r.opt.QoS > *a.MaximumQoS {
		return &client.Error{Kind: client.KindUnsupported, What: fmt.Sprintf("the broker does QoS %d at most", *a.MaximumQoS)}
	}
	return c.Disconnect(ctx, mqtt.Disconnect{})
}

// tick reads the clock. The engine calls it before it hands on what came.
func (r *run) tick() int64 {
	r.now = int64(r.opt.Client.Clock.Now().Sub(r.origin))
	return r.now
}

func (r *run) appendConnect(out []byte, p *peer) []byte {
	k := r.opt.Client.Connect
	k.ClientID = p.clientID()
	k.Password = r.opt.Client.Password.Reveal()
	if p.durable() {
		if k.CleanStart = false; r.version == mqtt.V5 { // before 5.0 a clean session ends with its connection
			k.CleanStart, k.SessionExpiry = r.crowd.fresh, offlineExpiry
		}
		if r.crowd.purge {
			k.CleanStart, k.SessionExpiry = true, 0
		}
	}
	return k.Append(out, r.version, 0)
}

func (p *peer) clientID() string {
	letter := "s"
	switch p.role {
	case publishes:
		letter = "p"
	case visits:
		letter = "v"
	}
	return fmt.Sprintf("%s%s%d", p.run.opt.IDPrefix, letter, p.index)
}

// durable tells whether p's session outlives its connection.
func (p *peer) durable() bool {
	o := p.run.opt
	return p.role == subscribes && (o.Scenario == Offline || o.Scenario == Memory && o.Memory.durable())
}

// turnMax is how long nothing may happen before what is done now and then is looked at.
const turnMax = 50 * time.Millisecond

// until turns the engine until done says so, or the time of the run has come.
func (r *run) until(deadline int64, done func() bool) error {
	for r.tick(); !done() && r.now < deadline; r.tick() {
		if r.ctx.Err() != nil {
			return errInterrupted
		}
		r.crowd.step()
		r.pace()
		wait := min(turnMax, time.Duration(deadline-r.now), r.crowd.wait(), r.paceWait())
		if err := r.eng.turn(max(wait, 0)); err != nil {
			return fmt.Errorf("the event loop: %w", err)
		}
		r.nowAndThen()
		if r.crowd.fatal != nil {
			return r.crowd.fatal
		}
	}
	return nil
}

func (r *run) after(d time.Duration) int64 { r.tick(); return r.now + int64(d) }

// nowAndThen pings, tells how far we are, and helps a window that waits for what was lost.
func (r *run) nowAndThen() {
	if r.now >= r.wake.progress {
		r.progress()
	}
	if r.now >= r.wake.ping {
		r.wake.ping = r.now + int64(pingEvery)
		r.ping()
	}
	if r.fan > 0 && !r.silent && r.opt.Pace.Rate == 0 && r.paceFrom > 0 && r.now-r.total.lastDelivery > int64(stallAfter) {
		r.total.stalls++
		r.total.lastDelivery = r.now
		for _, p := range r.pubs {
			p.pub.undelivered, p.pub.got = 0, 0
			r.feed(p)
		}
	}
}

const (
	pingEvery  = 100 * time.Millisecond
	stallAfter = time.Second
)

// ping lets each connection say something within two thirds of its keep alive.
func (r *run) ping() {
	all := r.crowd.all
	keepAlive := time.Duration(r.opt.Client.Connect.KeepAlive) * time.Second
	if keepAlive == 0 || len(all) == 0 {
		return
	}
	for range min(len(all), int(time.Duration(len(all))*pingEvery*3/2/keepAlive)+1) {
		r.wake.pinged = (r.wake.pinged + 1) % len(all)
		if p := all[r.wake.pinged]; p.state == ready {
			p.out = mqtt.AppendPingreq(p.out)
			r.eng.queue(&p.line)
		}
	}
}

// pace makes messages due.
func (r *run) pace() {
	rate := r.opt.Pace.Rate
	if rate == 0 || r.paceFrom == 0 || r.silent || len(r.pubs) == 0 {
		return
	}
	due := 1 + uint64(float64(r.now-r.paceFrom)*rate/1e9) // the first at once
	for ; r.paced < due; r.paced++ {
		p := r.pubs[r.paced%uint64(len(r.pubs))]
		p.pub.owed++
		r.feed(p)
	}
}

// paceWait is how long until the next message is due.
func (r *run) paceWait() time.Duration {
	rate := r.opt.Pace.Rate
	if rate == 0 || r.paceFrom == 0 || r.silent {
		return turnMax
	}
	return time.Duration(r.paceFrom + int64(float64(r.paced)*1e9/rate) - r.now)
}

// start begins to send.
func (r *run) start() {
	r.tick()
	r.paceFrom, r.total.lastDelivery = max(r.now, 1), r.now
	if r.opt.Pace.Rate == 0 {
		for _, p := range r.pubs {
			r.feed(p)
		}
	}
}

// Progress is how far a run is.
type Progress struct {
	Phase     string
	Elapsed   time.Duration // since the run began
	Connected int
	Failed    int
	Sent      uint64 // in the last second, as Delivered
	Delivered uint64
}

// enter begins a part of the run, which is told at once.
func (r *run) enter(phase string) { r.result.phase, r.wake.progress = phase, r.now }

func (r *run) progress() {
	r.wake.progress = r.now + int64(time.Second)
	if r.opt.Progress != nil && r.result.phase != "" {
		r.opt.Progress(Progress{
			Phase: r.result.phase, Elapsed: time.Duration(r.now), Connected: r.crowd.live, Failed: r.crowd.failed,
			Sent: r.total.sent - r.wake.sent, Delivered: r.total.delivered - r.wake.delivered,
		})
	}
	r.wake.sent, r.wake.delivered = r.total.sent, r.total.delivered
}
