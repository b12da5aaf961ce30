package bench

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

// The first message of a publisher names the topic and binds an alias, all others have the alias
// alone; each has the user properties.
func TestTopicAliasesAndUserProperties(t *testing.T) {
	for _, portable := range []bool{false, true} {
		var mu sync.Mutex
		named, brief := 0, 0
		s := fake.Start(t, nil, func(c *fake.Conn) {
			if !c.Greet(mqtt.Connack{TopicAliasMaximum: 3}) {
				return
			}
			for {
				p, err := c.Next()
				if err != nil || p.Type != mqtt.PUBLISH {
					return
				}
				m := c.DecodePublish(p)
				props, err := mqtt.ParsePublishProperties(m.Props)
				if err != nil || len(props.UserProperties) != 1 || props.UserProperties[0] != (mqtt.UserProperty{Name: "unit", Value: "K"}) || !m.HasTopicAlias || m.TopicAlias != aliasOfAll {
					t.Errorf("%+v, %v", m, err)
				}
				mu.Lock()
				switch string(m.Topic) {
				case "":
					brief++
				case "bench/0", "bench/1":
					named++
				default:
					t.Errorf("topic %q", m.Topic)
				}
				mu.Unlock()
				if _, ok := readStamp(m.Payload); !ok || len(m.Payload) != 64 {
					t.Errorf("payload %q", m.Payload)
				}
				c.SendAck(mqtt.PUBACK, m.PacketID, mqtt.Success, "")
			}
		})
		o := to(s, Pub)
		o.Count, o.QoS, o.TopicAlias, o.Portable, o.UserProperties = 2, 1, true, portable, []mqtt.UserProperty{{Name: "unit", Value: "K"}}
		rep, err := Run(context.Background(), o)
		mu.Lock()
		if err != nil || named != 2 || brief < 10 || rep.Sent.Acknowledged != uint64(named+brief) {
			t.Errorf("%v: %d named, %d brief, %+v", err, named, brief, rep)
		}
		mu.Unlock()
	}
}

func TestWhatNeedsMQTT5(t *testing.T) {
	b := fake.NewBroker(t, nil)
	for want, set := range map[string]func(*Options){
		"takes no topic aliases:": func(o *Options) { o.TopicAlias = true },
		"leave out -V":            func(o *Options) { o.TopicAlias, o.Client.Connect.Version = true, mqtt.V311 },
		"of MQTT 5.0": func(o *Options) {
			o.UserProperties, o.Client.Connect.Version = []mqtt.UserProperty{{Name: "a"}}, mqtt.V31
		},
		"there are none to bind": func(o *Options) { o.Scenario, o.Rogue = Rogue, Aliases },
		"none of fast":           func(o *Options) { o.Scenario, o.Rogue = Rogue, "loud" },
		"the rate":               func(o *Options) { o.Scenario, o.Pace.Rate = Retained, 5 },
		"times is out of range":  func(o *Options) { o.Scenario, o.Retained.Times = Retained, 2000 },
	} {
		o := to(b.Server, Pub)
		set(&o)
		if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// What is retained comes to who subscribes, as often as it is asked for, and is removed at the end
// unless it is to be kept.
func TestRetainedComesAndGoes(t *testing.T) {
	for _, keep := range []bool{false, true} {
		b := fake.NewBroker(t, nil)
		o := to(b.Server, Retained)
		o.Count, o.QoS, o.Retained = 1205, 1, RetainedShape{Times: 3, Keep: keep}
		rep, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		k := rep.Retained
		if rep.Sent.Acknowledged != 1205 || k.Messages != 1205 || k.Times != 3 || k.Delivered != 3*1205 || k.Lost != 0 || k.PerSec <= 0 || rep.QoS != 1 {
			t.Errorf("%+v of %+v", k, rep.Sent)
		}
		for _, name := range []string{"bench/0/0/v", "bench/1/204/v"} {
			if _, there := b.Retained(name); there != keep {
				t.Errorf("%s is there: %t, to be kept: %t", name, there, keep)
			}
		}
	}
}

func TestRetainedThatIsLostIsTold(t *testing.T) {
	kept := make(chan mqtt.Publish, 1)
	s := fake.Start(t, nil, func(c *fake.Conn) { // acknowledges all and retains nothing but one
		if !c.Greet(mqtt.Connack{}) {
			return
		}
		for {
			p, err := c.Next()
			if err != nil || p.Type == mqtt.DISCONNECT {
				return
			}
			switch p.Type {
			case mqtt.PUBLISH:
				m := c.DecodePublish(p)
				c.SendAck(mqtt.PUBACK, m.PacketID, mqtt.Success, "")
				if m.Retain && string(m.Topic) == "bench/0/3/v" && len(m.Payload) > 0 {
					m.Payload, m.Topic, m.QoS, m.PacketID = append([]byte(nil), m.Payload...), []byte("bench/0/3/v"), 0, 0
					kept <- m
				}
			case mqtt.SUBSCRIBE:
				a := mqtt.Suback{PacketID: uint16(p.Body[0])<<8 | uint16(p.Body[1]), Reasons: []mqtt.ReasonCode{0}}
				c.Send(a.Append(nil, c.Version, 0))
				c.SendPublish(<-kept)
			}
		}
	})
	o := to(s, Retained)
	o.Count, o.Retained.Times, o.Pace.Drain = 10, 1, 50*time.Millisecond
	rep, err := Run(context.Background(), o)
	if err == nil || rep == nil || rep.Retained.Lost != 9 || rep.Delivered.Lost != 9 || rep.Retained.Delivered != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// Each kind does what it says, and comes again when it is closed.
func TestRoguesMisbehave(t *testing.T) {
	for kind, min := range map[RogueKind]int{Fast: 100, Unread: 1, Dawdles: 1, Aliases: 100, Filters: 100} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			packets, connections := 0, 0
			topics, aliases := map[string]bool{}, map[uint16]bool{}
			ctx, enough := context.WithCancel(context.Background())
			defer enough()
			s := fake.Start(t, nil, func(c *fake.Conn) {
				if !c.Greet(mqtt.Connack{TopicAliasMaximum: 4}) {
					return
				}
				mu.Lock()
				if connections++; connections > 3 {
					enough()
				}
				mu.Unlock()
				for n := 0; n < 400; n++ {
					p, err := c.Next()
					if err != nil || p.Type == mqtt.DISCONNECT || p.Type == mqtt.PINGREQ {
						return
					}
					mu.Lock()
					packets++
					if p.Type == mqtt.PUBLISH {
						m := c.DecodePublish(p)
						topics[string(m.Topic)], aliases[m.TopicAlias] = true, true
					}
					mu.Unlock()
					if kind == Unread || kind == Dawdles {
						_, _ = c.Write(make([]byte, 64<<10))
					}
				}
			})
			o := to(s, Rogue)
			o.Count, o.Rogue, o.Pace.Duration = 1, kind, 300*time.Millisecond
			if kind == Fast || kind == Aliases || kind == Filters {
				o.Pace.Duration = time.Minute // until it came again
			}
			rep, err := Run(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			g := rep.Rogue
			if packets < min || g.Connected < 1 || g.Packets < 1 || g.BytesOut == 0 {
				t.Errorf("%d packets, %+v", packets, g)
			}
			switch kind {
			case Fast, Aliases, Filters:
				if connections < 3 || g.Closed < 1 { // one is the probe's
					t.Errorf("%d connections, %+v: it does not come again", connections, g)
				}
				if kind == Aliases && (len(aliases) != 4 || len(topics) < 100) {
					t.Errorf("%d aliases and %d topics", len(aliases), len(topics))
				}
			case Unread:
				if g.BytesIn != 0 {
					t.Errorf("it read %d bytes", g.BytesIn)
				}
			case Dawdles:
				if g.BytesIn == 0 || g.BytesIn > 8<<10 {
					t.Errorf("it read %d bytes", g.BytesIn)
				}
			}
		})
	}
}

// The clock of a process counts what it uses, and agrees with /proc.
func TestProcessorTimeIsRead(t *testing.T) {
	self := os.Getpid()
	before, resident := processUse(self)
	after, began := before, time.Now()
	for after-before < .02 && time.Since(began) < 10*time.Second {
		_ = readBusy(1000)
		after, _ = processUse(self)
	}
	if resident < 1<<20 || after-before < .02 {
		t.Errorf("%v seconds after %s of work, %d bytes", after-before, time.Since(began), resident)
	}
	if cpu, resident := processUse(1 << 30); cpu != 0 || resident != 0 {
		t.Errorf("of no process: %v, %d", cpu, resident)
	}
}

// Both shares of the cores are of the measured time.
func TestSharesOfTheCores(t *testing.T) {
	b := fake.NewBroker(t, nil)
	o := to(b.Server, Pair)
	o.Process = os.Getpid()
	rep, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if p := rep.Broker; p.Busy < .9*p.CPUSeconds/rep.Seconds || p.Busy > 1.1*p.CPUSeconds/rep.Seconds || p.Busy <= 0 {
		t.Errorf("%+v in %v s", p, rep.Seconds)
	}
}

func readBusy(n int) (x int) {
	for i := range n {
		x ^= i * x
	}
	return x
}
