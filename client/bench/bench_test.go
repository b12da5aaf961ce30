package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

// to are options for a server, and times that a test can wait for.
func to(s *fake.Server, scenario Scenario) Options {
	o := Options{Client: client.DefaultOptions(), Scenario: scenario, Count: 3, Payload: 64}
	o.Client.Host, o.Client.Port, o.Client.TLS = s.Host, s.Port, nil
	o.Pace = Pace{WarmUp: 10 * time.Millisecond, Duration: 60 * time.Millisecond, Drain: 200 * time.Millisecond}
	return o
}

// Every scenario with messages, in both engines, all versions and qualities of service: what
// was sent is what was delivered.
func TestNothingIsLostWhereNothingIsLost(t *testing.T) {
	shapes := map[string]func(*Options){
		"pair":    func(o *Options) { o.Scenario = Pair },
		"out":     func(o *Options) { o.Scenario, o.Fan.Out = Fan, 5 },
		"in":      func(o *Options) { o.Scenario, o.Fan.In = Fan, 4 },
		"rate":    func(o *Options) { o.Scenario, o.Pace.Rate = Pair, 2000 },
		"filters": func(o *Options) { o.Scenario, o.Filters = Pair, 20 },
		"pub":     func(o *Options) { o.Scenario = Pub },
	}
	for _, portable := range []bool{false, true} {
		for name, shape := range shapes {
			for i, v := range []mqtt.Version{mqtt.V5, mqtt.V311, mqtt.V31} {
				q := mqtt.QoS((i + len(name)) % 3)
				t.Run(fmt.Sprintf("%t/%s/%s/%d", portable, name, v, q), func(t *testing.T) {
					t.Parallel()
					b := fake.NewBroker(t, nil)
					o := to(b.Server, Pair)
					o.Client.Connect.Version, o.QoS, o.Portable = v, q, portable
					shape(&o)
					rep, err := Run(context.Background(), o)
					if err != nil {
						t.Fatal(err)
					}
					s, d := rep.Sent, rep.Delivered
					// A starved machine may send before and after the measured time, and nothing within it.
					if s.Messages == 0 || q > 0 && s.Acknowledged != s.Messages {
						t.Errorf("sent %+v", s)
					}
					if rep.Connections.Connected != o.connections() || len(rep.Connections.Ended) > 0 {
						t.Errorf("connections %+v, want %d", rep.Connections, o.connections())
					}
					if name == "pub" {
						return
					}
					want := s.Messages * uint64(max(o.Fan.Out, 1))
					if d.Messages != want || d.Lost+d.Duplicated+d.Reordered+d.Foreign > 0 {
						t.Errorf("delivered %+v of %d", d, want)
					}
					if d.PerSecond == 0 { // it was starved
						if rep.Latency != nil {
							t.Errorf("latency %+v of nothing", rep.Latency)
						}
						return
					}
					if g := rep.Generator; runtime.GOOS == "linux" && (g == nil || g.CPUSeconds <= 0 || g.Busy <= 0 || g.CPUPerMillion <= 0) {
						t.Errorf("our own processor time is %+v", g)
					}
					if rep.Latency == nil || rep.Latency.P50 <= 0 || rep.Latency.Max > 60_000 {
						t.Errorf("latency %+v", rep.Latency)
					}
				})
			}
		}
	}
}

func TestRatesAreOfTheMeasuredTime(t *testing.T) {
	m := result{seconds: 2.5}
	if got := m.perSecond(10); got != 4 {
		t.Errorf("10 in 2.5 s are %v a second", got)
	}
	m.seconds = 0
	if got := m.perSecond(10); got != 0 {
		t.Errorf("10 in no time are %v a second", got)
	}
}

// tamper is a broker of one topic that drops, doubles and swaps messages.
type tamper struct {
	mu   sync.Mutex // guards all below
	sub  *fake.Conn
	n    int
	held *mqtt.Publish

	dropped, doubled, swapped int
}

func (b *tamper) serve(c *fake.Conn) {
	if !c.Greet(mqtt.Connack{}) {
		return
	}
	for {
		p, err := c.Next()
		if err != nil || p.Type == mqtt.DISCONNECT {
			return
		}
		switch p.Type {
		case mqtt.SUBSCRIBE:
			b.mu.Lock()
			b.sub = c
			b.mu.Unlock()
			a := mqtt.Suback{PacketID: uint16(p.Body[0])<<8 | uint16(p.Body[1]), Reasons: []mqtt.ReasonCode{1}}
			c.Send(a.Append(nil, c.Version, 0))
		case mqtt.PUBLISH:
			m := c.DecodePublish(p)
			b.pass(m)
			c.SendAck(mqtt.PUBACK, m.PacketID, mqtt.Success, "")
		}
	}
}

func (b *tamper) pass(m mqtt.Publish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.Payload, m.Topic = append([]byte(nil), m.Payload...), append([]byte(nil), m.Topic...)
	switch b.n++; {
	case b.n%10 == 0:
		b.dropped++
		return
	case b.n%10 == 3:
		b.held = &m
		return
	case b.n%10 == 5:
		b.doubled++
		b.sub.SendPublish(m)
	}
	b.sub.SendPublish(m)
	if b.held != nil {
		b.swapped++
		b.sub.SendPublish(*b.held)
		b.held = nil
	}
}

// What a broker loses, doubles and swaps is counted, one by one.
func TestLostDoubledAndSwappedAreCounted(t *testing.T) {
	b := &tamper{}
	s := fake.Start(t, nil, b.serve)
	o := to(s, Pair)
	o.Count, o.QoS, o.Pace.Rate, o.Pace.Duration = 1, 1, 2000, 150*time.Millisecond
	rep, err := Run(context.Background(), o)
	var e *client.Error
	if !errors.As(err, &e) || !strings.Contains(e.What, "lost") || rep == nil {
		t.Fatalf("a broker that loses messages: %v, %v", rep, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held != nil {
		b.dropped++
	}
	d := rep.Delivered
	if b.n < 100 || rep.Sent.Messages != uint64(b.n) {
		t.Errorf("sent %d, the broker saw %d", rep.Sent.Messages, b.n)
	}
	if d.Lost != uint64(b.dropped) || d.Duplicated != uint64(b.doubled) || d.Reordered != uint64(b.swapped) {
		t.Errorf("%+v, want %d lost, %d doubled, %d swapped", d, b.dropped, b.doubled, b.swapped)
	}
	if d.Messages != uint64(b.n-b.dropped) {
		t.Errorf("delivered %d of %d", d.Messages, b.n)
	}
}

// A message that waits for its turn is late by all of that time, and those that could not be
// sent are told.
func TestLatencyCountsFromWhenAMessageWasDue(t *testing.T) {
	hold := make(chan struct{})
	s := fake.Start(t, nil, func(c *fake.Conn) {
		if !c.Greet(mqtt.Connack{}) {
			return
		}
		for first := true; ; {
			p, err := c.Next()
			if err != nil || p.Type == mqtt.DISCONNECT {
				return
			}
			if p.Type == mqtt.PUBLISH {
				if first {
					<-hold
					first = false
				}
				c.SendAck(mqtt.PUBACK, c.DecodePublish(p).PacketID, mqtt.Success, "")
			}
		}
	})
	time.AfterFunc(150*time.Millisecond, func() { close(hold) })
	o := to(s, Pub)
	o.Count, o.QoS, o.Pace.Rate, o.Pace.Window, o.Pace.WarmUp, o.Pace.Duration = 1, 1, 1000, 1, 0, 200*time.Millisecond
	rep, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	// About 150 messages were due while the first waited, each for half of that time.
	if rep.Latency == nil || rep.Latency.P50 < 20 {
		t.Errorf("latency %+v: the wait of those that were due is not in it", rep.Latency)
	}
}

// A message is sent when it is due, and not when the next one is.
func TestAMessageIsSentWhenItIsDue(t *testing.T) {
	for _, portable := range []bool{false, true} {
		b := fake.NewBroker(t, nil)
		o := to(b.Server, Pair)
		o.Count, o.Portable, o.Pace.Rate, o.Pace.WarmUp, o.Pace.Duration = 2, portable, 20, 0, 220*time.Millisecond
		rep, err := Run(context.Background(), o)
		if err != nil || rep.Sent.Messages < 4 || rep.Sent.Messages > 6 || rep.Latency.P50 > 25 {
			t.Errorf("portable %t: %+v, latency %+v, %v: one is due every 50 ms", portable, rep.Sent, rep.Latency, err)
		}
	}
}

func TestRefusalsAreTold(t *testing.T) {
	b := fake.NewBroker(t, nil)
	o := to(b.Server, Pair)
	o.Topic = "denied"
	rep, err := Run(context.Background(), o)
	var e *client.Error
	if !errors.As(err, &e) || e.Kind != client.KindSubscribeRefused || e.ExitCode() != client.ExitNotAuthorized || rep != nil {
		t.Errorf("a subscription that is refused: %v, %v", rep, err)
	}
	o.Scenario, o.QoS = Pub, 1
	rep, err = Run(context.Background(), o)
	if err != nil || rep.Sent.Refused == 0 || rep.Sent.Acknowledged != 0 || rep.Sent.Refusals["not authorized"] == 0 {
		t.Errorf("messages that are refused: %+v, %v", rep, err)
	}
	locked := fake.NewBroker(t, nil)
	locked.Password = "x"
	if _, err = Run(context.Background(), to(locked.Server, Pub)); !errors.As(err, &e) || e.Kind != client.KindBadCredentials {
		t.Errorf("a password that is wrong: %v", err)
	}
}

// Connections that fail are counted by reason, and those that succeed are not held up.
func TestConnCountsFailuresByReason(t *testing.T) {
	n := 0
	var mu sync.Mutex
	s := fake.Start(t, nil, func(c *fake.Conn) {
		mu.Lock()
		n++
		k := n
		mu.Unlock()
		switch {
		case k == 1 || k%3 == 0: // the first is that of the probe
			if c.Greet(mqtt.Connack{}) {
				_, _ = c.Next()
			}
		case k%3 == 1:
			c.Greet(mqtt.Connack{Reason: mqtt.ServerBusy})
		}
	})
	for _, portable := range []bool{false, true} {
		mu.Lock()
		n = 0
		mu.Unlock()
		o := to(s, Conn)
		o.Count, o.Portable = 29, portable
		rep, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		c := rep.Connections
		if c.Connected != 10 || c.Failed != 19 || c.Reasons["CONNACK: server busy"] != 9 || c.Reasons["closed"]+c.Reasons["reset"] != 10 {
			t.Errorf("portable %t: %+v", portable, c)
		}
	}
}

func TestAnInterruptEndsWithAReport(t *testing.T) {
	b := fake.NewBroker(t, nil)
	o := to(b.Server, Pair)
	o.Pace.Duration = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	o.Progress = func(p Progress) {
		if p.Phase == "measuring" {
			cancel()
		}
	}
	rep, err := Run(ctx, o)
	if err != nil || !rep.Interrupted || rep.Delivered.Messages == 0 || rep.Delivered.Lost > 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	if got := len(b.Disconnects()); got != 7 { // six, and the probe
		t.Errorf("%d said goodbye, want 7", got)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for want, spoil := range map[string]func(*Options){
		"connections is out of range":               func(o *Options) { o.Count = 0 },
		"process 1073741824 cannot be read (--pid)": func(o *Options) { o.Process = 1 << 30 },
		"payload of 15 bytes":                       func(o *Options) { o.Payload = 15 },
		"window of 70000":                           func(o *Options) { o.Pace.Window = 70000 },
		"--fan-in N":                                func(o *Options) { o.Scenario = Fan },
		"--share needs":                             func(o *Options) { o.Scenario, o.Fan = Fan, FanShape{Out: 2, Share: 2} },
		"QoS 0 waits":                               func(o *Options) { o.Scenario = Offline },
		"leave out --killed": func(o *Options) {
			o.Scenario, o.QoS, o.Offline = Offline, 1, OfflineShape{Publishers: 1, Killed: true, Undrained: true}
		},
		"name its process with --pid": func(o *Options) { o.Scenario, o.Flood = Flood, FloodShape{Kind: Silent, Bystanders: 1, Collect: true} },
		"about TLS":                   func(o *Options) { o.Scenario, o.Flood = Flood, FloodShape{Kind: Stalled, Bystanders: 1} },
		"QUIC":                        func(o *Options) { o.Client.QUIC = true },
		"RLIMIT_NOFILE":               func(o *Options) { o.Count = CountMax / 2 * 2 },
	} {
		o := to(&fake.Server{Host: "127.0.0.1", Port: 1}, Pair)
		spoil(&o)
		_, err := Run(context.Background(), o)
		var e *client.Error
		if !errors.As(err, &e) || e.Kind != client.KindOptions || !strings.Contains(e.What, want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Strangers come as often as they are sent away, and are nobody's message.
func TestStrangersBesideBystanders(t *testing.T) {
	b := fake.NewBroker(t, nil)
	o := to(b.Server, Flood)
	o.Count, o.Flood = 20, FloodShape{Kind: Silent, Bystanders: 2}
	rep, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	f := rep.Flood
	if f.Opened != 20 || f.Open != 20 || f.Failed+f.Closed != 0 || f.Before == nil || f.During == nil || f.Newcomer <= 0 {
		t.Errorf("%+v", f)
	}
	if d := rep.Delivered; d.Lost+d.Duplicated > 0 || d.Messages != rep.Sent.Messages || d.Messages < 50 {
		t.Errorf("%+v of %+v", d, rep.Sent)
	}
}

// Strangers that are closed come again, and how long each lived is told.
func TestStrangersThatAreSentAway(t *testing.T) {
	door := fake.Start(t, nil, func(*fake.Conn) {})
	s := &strangers{kind: Slow, address: fmt.Sprintf("%s:%d", door.Host, door.Port), now: time.Now}
	var err error
	if s.hello, err = s.words(&Options{}); err != nil || len(s.hello) < 200 || s.hello[0] != 0x10 {
		t.Fatalf("a CONNECT of %d bytes, %v", len(s.hello), err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.begin(ctx, 2, 0, 0)
	for s.closed.Load() < 10 {
		runtime.Gosched()
	}
	stop()
	s.wg.Wait()
	if s.open.Load() != 0 || s.lives.count < 10 {
		t.Errorf("%d open, %d lives", s.open.Load(), s.lives.count)
	}
}

func TestHelloIsWhole(t *testing.T) {
	hello, err := clientHello("localhost")
	if err != nil || len(hello) < 100 || hello[0] != 0x16 || hello[5] != 1 || int(hello[3])<<8|int(hello[4]) != len(hello)-5 {
		t.Errorf("%d bytes, %v", len(hello), err)
	}
}
