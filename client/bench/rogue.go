package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// RogueKind is how a client misbehaves. It has logged in as any other.
type RogueKind string

// How clients misbehave.
const (
	Fast    RogueKind = "fast"    // publishes with QoS 0 as fast as the socket takes it
	Unread  RogueKind = "unread"  // subscribes to everything and reads nothing
	Dawdles RogueKind = "dawdles" // subscribes to everything and reads a little, now and then
	Aliases RogueKind = "aliases" // binds every topic alias to another long topic, again and again
	Filters RogueKind = "filters" // subscribes to one wildcard filter after another, until it may no more, and again
)

var rogueKinds = []RogueKind{Fast, Unread, Dawdles, Aliases, Filters}

// ParseRogueKind reads one.
func ParseRogueKind(s string) (RogueKind, error) {
	if k := RogueKind(s); slices.Contains(rogueKinds, k) {
		return k, nil
	}
	return "", usage("%q is none of fast, unread, dawdles, aliases and filters", s)
}

// RogueReport is what such clients did, and what became of them.
type RogueReport struct {
	Kind      RogueKind `json:"kind"`
	Clients   int       `json:"clients"`   // at a time
	Connected int64     `json:"connected"` // times
	Refused   int64     `json:"refused"`   // connections that did not come about
	Closed    int64     `json:"closed"`    // by the broker
	Packets   int64     `json:"packets"`   // written: PUBLISH or SUBSCRIBE
	BytesOut  int64     `json:"bytes_sent"`
	BytesIn   int64     `json:"bytes_read"`
}

const (
	roguePause = 50 * time.Millisecond  // before one that was closed comes again
	dawdle     = 100 * time.Millisecond // between two reads of dawdleBytes
	// dawdleBytes is less than what anybody sends it in that time.
	dawdleBytes = 1 << 10
	// rogueFilters is how many filters one connection subscribes to, if it may.
	rogueFilters = 100000
	rogueTopic   = 200 // bytes of a long topic, about
	rogueBatch   = 64 << 10
)

// rogues are such clients, a goroutine for each, and one more where it reads while it writes.
type rogues struct {
	run *run
	wg  sync.WaitGroup

	connected, refused, closed, packets, out, in atomic.Int64
}

// rogue lets clients misbehave for as long as a run measures.
func (r *run) rogue(ctx context.Context) error {
	o := r.opt
	if o.Rogue == Aliases && r.aliasesMax == 0 {
		return usage("the broker takes no topic aliases: there are none to bind")
	}
	s := &rogues{run: r}
	ctx, stop := context.WithCancel(ctx)
	r.enter("misbehaving")
	err := r.measure(func() error {
		for i := range o.Count {
			s.wg.Go(func() { s.live(ctx, i) })
		}
		return r.until(r.after(o.Pace.Duration), never)
	})
	stop()
	s.wg.Wait()
	r.result.rogue = &RogueReport{
		Kind: o.Rogue, Clients: o.Count, Connected: s.connected.Load(), Refused: s.refused.Load(), Closed: s.closed.Load(),
		Packets: s.packets.Load(), BytesOut: s.out.Load(), BytesIn: s.in.Load(),
	}
	r.crowd.connected = int(s.connected.Load())
	return err
}

// live is one of them, until ctx is done.
func (s *rogues) live(ctx context.Context, i int) {
	for ctx.Err() == nil {
		c, err := s.login(ctx, i)
		if err != nil {
			if ctx.Err() == nil {
				s.refused.Add(1)
			}
		} else {
			s.connected.Add(1)
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			if !s.misbehave(ctx, c, i) && ctx.Err() == nil {
				s.closed.Add(1)
			}
			stop()
			_ = c.Close()
		}
		if !pause(ctx, roguePause) {
			return
		}
	}
}

// login is a connection that the broker accepted.
func (s *rogues) login(ctx context.Context, i int) (net.Conn, error) {
	r := s.run
	c, err := r.opener.Open(ctx)
	if err != nil {
		return nil, err
	}
	k := r.opt.Client.Connect
	k.ClientID, k.Password, k.KeepAlive = fmt.Sprintf("%sr%d", r.opt.IDPrefix, i), r.opt.Client.Password.Reveal(), 0
	_ = c.SetDeadline(r.opt.Client.Clock.Now().Add(r.opt.Client.ConnectTimeout))
	_, err = c.Write(k.Append(nil, r.version, 0))
	if err == nil {
		err = readConnack(c, r.version)
	}
	_ = c.SetDeadline(time.Time{})
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// readConnack reads one packet, which has to say success.
func readConnack(c io.Reader, v mqtt.Version) error {
	buf := make([]byte, 0, 512)
	for {
		n, err := c.Read(buf[len(buf):cap(buf)])
		if buf = buf[:len(buf)+n]; err != nil {
			return err
		}
		h, ok, err := mqtt.ReadHeader(buf, v)
		switch {
		case err != nil:
			return err
		case ok && len(buf) >= h.Size+h.Remaining:
			var a mqtt.Connack
			if err := mqtt.DecodeConnack(buf[h.Size:h.Size+h.Remaining], h, v, packetLimits, &a); err != nil {
				return err
			}
			if a.Reason != mqtt.Success {
				return &refusal{"CONNACK", a.Reason}
			}
			return nil
		case len(buf) == cap(buf):
			return errors.New("a CONNACK that is too long")
		}
	}
}

// misbehave does what its kind does, until the connection ends; true: it had done all it does with
// one.
func (s *rogues) misbehave(ctx context.Context, c net.Conn, i int) (done bool) {
	o := s.run.opt
	switch o.Rogue {
	case Unread, Dawdles:
		sub := mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: o.Topic + "/#", QoS: o.QoS}}}
		if s.write(c, sub.Append(nil, s.run.version, 0), 1) {
			s.linger(ctx, c)
		}
		return false
	}
	s.wg.Go(func() { // what comes back is of no interest, and has to be read
		n, _ := io.Copy(io.Discard, c)
		s.in.Add(n)
		_ = c.Close() // ends the writing
	})
	batch, each := s.batch(i, 0)
	for n := 1; s.write(c, batch, each); n++ {
		if o.Rogue == Filters {
			if n*int(each)*filtersOfPacket >= rogueFilters {
				return true
			}
			batch, each = s.batch(i, n)
		}
	}
	return false
}

func (s *rogues) write(c io.Writer, b []byte, packets int64) bool {
	n, err := c.Write(b)
	s.out.Add(int64(n))
	if err == nil {
		s.packets.Add(packets)
	}
	return err == nil
}

// linger reads nothing, or a little now and then. Whoever reads nothing learns of the end by
// writing: a PINGREQ each second.
func (s *rogues) linger(ctx context.Context, c net.Conn) {
	buf := make([]byte, dawdleBytes)
	wait := dawdle
	if s.run.opt.Rogue == Unread {
		wait = slowEvery
	}
	for pause(ctx, wait) {
		if s.run.opt.Rogue == Dawdles {
			n, err := c.Read(buf)
			if s.in.Add(int64(n)); err != nil {
				return
			}
			continue
		}
		if !s.write(c, mqtt.AppendPingreq(nil), 0) {
			return
		}
	}
}

// batch is many packets at once, and how many.
func (s *rogues) batch(i, turn int) (b []byte, packets int64) {
	r, o := s.run, s.run.opt
	long := strings.Repeat("x", rogueTopic)
	for n := 0; len(b) < rogueBatch; n++ {
		switch o.Rogue {
		case Fast:
			m := mqtt.Publish{Topic: fmt.Appendf(nil, "%s/rogue/%d", o.Topic, i), Payload: r.payload}
			b = m.Append(b, r.version)
		case Aliases:
			m := mqtt.Publish{Topic: fmt.Appendf(nil, "%s/rogue/%d/%s/%d", o.Topic, i, long, n), HasTopicAlias: true, TopicAlias: uint16(n%int(r.aliasesMax)) + 1, Payload: r.payload[:StampBytes]}
			b = m.Append(b, r.version)
		case Filters:
			m := mqtt.Subscribe{PacketID: uint16(n%65535) + 1}
			for k := range filtersOfPacket {
				m.Filters = append(m.Filters, mqtt.Subscription{Filter: fmt.Sprintf("%s/+/%d/%d/%d/%d/#", o.Topic, i, turn, n, k)})
			}
			b = m.Append(b, r.version, 0)
		}
		packets++
	}
	return b, packets
}
