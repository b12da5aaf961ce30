package bench

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/mqtt"
)

// FloodKind is what a stranger does.
type FloodKind string

// What strangers do once they are connected. None of them ever says who it is.
const (
	Silent    FloodKind = "silent"     // nothing
	Slow      FloodKind = "slow"       // a CONNECT, one byte a second
	HalfHello FloodKind = "half-hello" // the first half of a ClientHello
	Stalled   FloodKind = "stalled"    // a whole ClientHello, and no answer to what follows
)

var floodKinds = []FloodKind{Silent, Slow, HalfHello, Stalled}

// ParseFloodKind reads one.
func ParseFloodKind(s string) (FloodKind, error) {
	if k := FloodKind(s); slices.Contains(floodKinds, k) {
		return k, nil
	}
	return "", usage("%q is none of silent, slow, half-hello and stalled", s)
}

// Defaults of Flood.
const (
	DefaultFloodRate  = 1000
	DefaultBystanders = 50
	// strangerPause is how long a stranger that was refused waits before it comes again.
	strangerPause = 50 * time.Millisecond
	slowEvery     = time.Second
)

// FloodReport is what strangers did to the bystanders, and what became of them.
type FloodReport struct {
	Kind      FloodKind `json:"kind"`
	Strangers int       `json:"strangers"` // at a time
	Before    *Latency  `json:"before_ms"`
	During    *Latency  `json:"during_ms"`
	P99Ratio  float64   `json:"p99_ratio"`
	Opened    int64     `json:"opened"`
	Failed    int64     `json:"failed"`
	Closed    int64     `json:"closed_by_broker"`
	Open      int64     `json:"open_at_end"`
	LifeP50   float64   `json:"life_p50_seconds,omitempty"` // of those that the broker closed
	LifeMax   float64   `json:"life_max_seconds,omitempty"`
	Oldest    float64   `json:"oldest_open_seconds"`                          // of those that were open at the end
	Newcomer  float64   `json:"newcomer_ms"`                                  // a client that connects during the flood; -1: it could not
	Held      int64     `json:"open_when_memory_was_read,omitempty"`          // all had come, unless the run is longer than 32 s, and none had been there for as long as Redoubt lets it
	Resident  *int64    `json:"broker_resident_bytes_per_stranger,omitempty"` // of those; less than 0: memory shrank; nil: it was not read
}

func (f *FloodShape) verify(o *Options) error {
	if f.Kind == "" {
		f.Kind = Silent
	}
	switch {
	case o.Client.Socket != "":
		return usage("strangers come over the network: leave out --unix")
	case f.Collect && o.Process == 0:
		return usage("--collect needs a broker on this machine: name its process with --pid")
	case o.Client.TLS == nil && (f.Kind == HalfHello || f.Kind == Stalled):
		return usage("--kind %s is about TLS, and this port is to be plaintext", f.Kind)
	case o.Pace.Rate == 0:
		o.Pace.Rate = DefaultFloodRate
	}
	if f.Before == 0 {
		f.Before = o.Pace.Duration
	}
	return nil
}

// strangers are the flood. Each is a goroutine, so that the bystanders' engine has no part in
// it.
type strangers struct {
	kind    FloodKind
	address string
	hello   []byte // what each sends
	now     func() time.Time
	wg      sync.WaitGroup

	opened, failed, closed, open atomic.Int64

	mu    sync.Mutex // guards all below
	lives Hist
	begun map[net.Conn]time.Time // when those that are open came
}

// flood measures bystanders before and during.
func (r *run) flood(ctx context.Context) error {
	o := r.opt
	r.cast()
	r.crowd.strict = true
	r.enter("connecting")
	if err := r.connectAll(); err != nil {
		return err
	}
	r.enter("warming up")
	r.start()
	if err := r.until(r.after(o.Pace.WarmUp), never); err != nil {
		return err
	}
	rep := &FloodReport{Kind: o.Flood.Kind, Strangers: o.Count, Newcomer: -1}
	r.result.flood = rep
	r.enter("before")
	err := r.measure(func() error { return r.until(r.after(o.Flood.Before), never) })
	if rep.Before = r.result.hist.Latency(); err != nil {
		r.leave()
		return err
	}
	quiet, err := r.resident()
	if err != nil {
		r.leave()
		return err
	}
	s := &strangers{kind: o.Flood.Kind, address: r.address(), now: o.Client.Clock.Now}
	if s.hello, err = s.words(o); err != nil {
		return err
	}
	r.result.seconds = 0
	r.enter("during")
	crowd, stop := context.WithCancel(ctx)
	newcomer := make(chan float64, 1)
	if o.Flood.Last {
		_ = othersLast() // where it may not be, the figures are of a generator that is in its own way
	}
	s.begin(crowd, o.Count, strangersGather, o.Pace.Duration/4)
	err = r.until(r.after(strangersGather), never)
	err = cmp.Or(err, r.measure(func() error {
		s.wg.Go(func() { newcomer <- r.newcomer(crowd, o.Pace.Duration/2) })
		end := r.after(o.Pace.Duration)
		err := r.until(r.after(strangersAllThere(o.Pace.Duration)), never)
		if err == nil {
			var with int64
			with, err = r.resident()
			rep.Held = s.open.Load()
			rep.Resident = perStranger(rep.Held, quiet, with)
		}
		return cmp.Or(err, r.until(end, never))
	}))
	rep.During = r.result.hist.Latency()
	rep.Opened, rep.Failed, rep.Closed, rep.Open = s.opened.Load(), s.failed.Load(), s.closed.Load(), s.open.Load()
	rep.Oldest = round(s.oldest().Seconds())
	stop()
	s.wg.Wait()
	rep.Newcomer = <-newcomer
	rep.LifeP50, rep.LifeMax = round(s.lives.Quantile(.5).Seconds()), round(s.lives.Quantile(1).Seconds())
	if rep.Before != nil && rep.During != nil && rep.Before.P99 > 0 {
		rep.P99Ratio = round(rep.During.P99 / rep.Before.P99)
	}
	r.enter("draining")
	r.drain(err != nil)
	r.leave()
	return err
}

// perStranger is what each of those who are there takes of memory; nil: it could not be read before or after,
// or nobody is there.
func perStranger(open, before, after int64) *int64 {
	if open <= 0 || before <= 0 || after <= 0 {
		return nil
	}
	each := (after - before) / open
	return &each
}

// strangersAllThere is when memory is read: they come in the first quarter, and ten seconds is how long Redoubt lets the
// first of them stay. Of a long run it is before all have come.
func strangersAllThere(during time.Duration) time.Duration { return min(during*9/16, 8*time.Second) }

// collects is how long a broker has to collect and to give memory back, or an eighth of a short run.
const collects = time.Second

// resident is the broker's memory, after the collection that it was asked for; 0: it cannot be read.
func (r *run) resident() (bytes int64, err error) {
	if r.opt.Flood.Collect {
		if err := askToCollect(r.opt.Process); err != nil {
			return 0, err
		}
	}
	if r.opt.Process != 0 {
		err = r.until(r.after(min(collects, r.opt.Pace.Duration/8)), never) // who is not asked is read as late
	}
	_, bytes = processUse(r.opt.Process)
	return bytes, err
}

func (r *run) address() string {
	c := &r.opt.Client
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
}

// newcomer is how long a client takes to connect in the middle of it, in milliseconds.
func (r *run) newcomer(ctx context.Context, wait time.Duration) float64 {
	if !pause(ctx, wait) {
		return -1
	}
	o := r.opt.Client
	o.Connect.ClientID = r.opt.IDPrefix + "newcomer"
	began := o.Clock.Now()
	c, err := client.Dial(ctx, o)
	if err != nil {
		return -1
	}
	took := o.Clock.Now().Sub(began)
	_ = c.Disconnect(ctx, mqtt.Disconnect{})
	return millis(took)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// words are what a stranger sends.
func (s *strangers) words(o *Options) ([]byte, error) {
	switch s.kind {
	case Slow:
		k := mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: strings.Repeat("slow", 64), ReceiveMaximum: 65535, RequestProblemInformation: true}
		return k.Append(nil, mqtt.V5, 0), nil
	case HalfHello, Stalled:
		hello, err := clientHello(o.Client.Host)
		if s.kind == HalfHello {
			hello = hello[:len(hello)/2]
		}
		return hello, err
	}
	return nil, nil
}

// clientHello is what crypto/tls begins with.
func clientHello(host string) ([]byte, error) {
	near, far := net.Pipe()
	defer far.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(near, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}).Handshake() // ends when far is closed
		_ = near.Close()
	}()
	buf := make([]byte, 16<<10)
	n, err := far.Read(buf)
	_ = far.Close()
	<-done
	return buf[:n], err
}

// strangersGather is what it takes to make three thousand strangers: who makes them measures nobody
// meanwhile.
const strangersGather = 500 * time.Millisecond

// begin lets n strangers come after a while, spread over a time. They end with ctx.
func (s *strangers) begin(ctx context.Context, n int, after, over time.Duration) {
	for i := range n {
		s.wg.Go(func() {
			if !pause(ctx, after+over*time.Duration(i)/time.Duration(n)) {
				return
			}
			for ctx.Err() == nil {
				if !s.come(ctx) && !pause(ctx, strangerPause) {
					return
				}
			}
		})
	}
}

// come is one connection, until the broker ends it; false: there was none.
func (s *strangers) come(ctx context.Context) bool {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.address)
	if err != nil {
		if ctx.Err() == nil {
			s.failed.Add(1)
		}
		return false
	}
	s.opened.Add(1)
	s.open.Add(1)
	defer s.open.Add(-1)
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	began := s.now()
	s.mark(c, began)
	defer s.unmark(c)
	if s.kind != Slow {
		_, _ = c.Write(s.hello) // what is wrong with it, reading tells
	}
	s.listen(c)
	if ctx.Err() == nil {
		s.closed.Add(1)
		s.mu.Lock()
		s.lives.Add(int64(s.now().Sub(began)))
		s.mu.Unlock()
	}
	return true
}

func (s *strangers) mark(c net.Conn, began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun == nil {
		s.begun = make(map[net.Conn]time.Time)
	}
	s.begun[c] = began
}

func (s *strangers) unmark(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.begun, c)
}

// oldest is how long the one that has been open for longest has been.
func (s *strangers) oldest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var most time.Duration
	for _, began := range s.begun {
		most = max(most, now.Sub(began))
	}
	return most
}

// listen reads until the end, and says a byte now and then if that is its kind.
func (s *strangers) listen(c net.Conn) {
	buf := make([]byte, 512)
	rest := s.hello
	for {
		if s.kind == Slow {
			_ = c.SetReadDeadline(s.now().Add(slowEvery))
		}
		_, err := c.Read(buf)
		switch {
		case err == nil:
		case s.kind == Slow && errors.Is(err, os.ErrDeadlineExceeded) && len(rest) > 0:
			if _, err := c.Write(rest[:1]); err != nil {
				return
			}
			rest = rest[1:]
		case errors.Is(err, os.ErrDeadlineExceeded):
		default:
			return
		}
	}
}
