package conn

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// Engine moves bytes between sockets and loops. It may use as many goroutines
// as it likes; it owns them and waits for them.
type Engine interface {
	// Ready does all that can fail before connections of l are accepted on these
	// sockets; after an error on none. open accepts there until they are closed, and
	// drop takes it back; one of the two is called, once.
	Ready(l *listener.Listener, sockets []net.Listener) (open, drop func(), err error)
	// Unserve accepts nothing more on these sockets, which are closed next.
	Unserve(sockets []net.Listener)
	// Stop takes no more connections.
	Stop()
	// Close ends every connection that is still there and waits until nothing
	// of the engine runs.
	Close()
	// Poller makes what l waits with. An error says what the system did not give
	// and how it is made to.
	Poller(l *Loop) (poller, error)
}

// poller is how a loop waits. All but wake belong to the loop's goroutine.
type poller interface {
	// wait returns when something has come, wake was called, or d has passed; it
	// only looks when d is 0.
	wait(d time.Duration)
	// wake ends a wait, or the next one.
	wake()
	// dispatch hands what wait found to the loop, except for who is not in yet.
	dispatch()
	// strangers hands those to the loop, for as long as the turn has room.
	strangers()
	// busy tells whether the poller has something to finish that is no connection
	// of the loop any longer.
	busy() bool
	// abandon finishes that at once.
	abandon()
	close()
}

// Options make a Server.
type Options struct {
	Loops   int // at least 1; the broker was made with as many homes
	Broker  *broker.Broker
	Metrics *metrics.Registry
	Clock   clock.Clock
	// Spare: the runtime has a place that no loop has (cores.Spare). Short: threads that wake up need not wait for
	// those that run (cores.Shorten).
	Spare, Short bool
	// First is called by each loop when it begins, and leave when it ends (cores.First); nil: nothing is.
	First func() (leave func())
	// Engine makes the engine; nil means Native.
	Engine func(*Server) Engine
}

// Server is the loops and their engine.
type Server struct {
	broker  *broker.Broker
	metrics *metrics.Registry
	count   *metrics.Shard // of the engine's goroutines
	clock   clock.Clock
	epoch   time.Time // of instants
	loops   []*Loop
	engine  Engine // of sockets

	running sync.WaitGroup // loops
	dealing sync.WaitGroup // timers for handshakes that wait for a processor
	ended   chan struct{}  // closed when no loop runs any more

	spare    bool         // as Options.Spare
	short    bool         // as Options.Short
	served   atomic.Int64 // the instant of the last turn of a loop, about, in which clients who are in had something; 0: none
	yielding atomic.Int64 // loops that have given their places of the runtime away now
	live     atomic.Int64 // connections that a loop has or is about to have

	halves *limit.Tally // bytes of incomplete packets, by identity

	mu        sync.Mutex // guards everything below
	next      int        // loop of the next connection
	listeners []*listener.Listener
	carrier   *Portable // engine of listeners with datagrams; nil: there was none
}

// New starts the loops; all of them are first when it returns. It fails when the system has not what they wait with;
// then nothing runs and nothing is open.
func New(o Options) (*Server, error) {
	s := &Server{broker: o.Broker, metrics: o.Metrics, count: o.Metrics.NewShard(), clock: o.Clock, epoch: o.Clock.Now(), spare: o.Spare, short: o.Short, ended: make(chan struct{}), halves: limit.NewTally()}
	for i := range o.Loops {
		s.loops = append(s.loops, newLoop(s, i))
	}
	if o.Engine == nil {
		o.Engine = Native
	}
	s.engine = o.Engine(s)
	for i, l := range s.loops {
		var err error
		if l.poll, err = s.engine.Poller(l); err != nil {
			for _, made := range s.loops[:i] {
				made.poll.close()
			}
			s.engine.Close()
			return nil, err
		}
		l.inbox.wake = l.poll.wake
	}
	var first sync.WaitGroup
	for _, l := range s.loops {
		s.running.Add(1)
		first.Add(1)
		go func() {
			defer s.running.Done()
			if o.First != nil {
				defer o.First()()
			}
			first.Done()
			l.run()
		}()
	}
	first.Wait()
	return s, nil
}

// Serve lets clients in at l, whose sockets are open and, whatever comes of it,
// are closed by Shutdown.
func (s *Server) Serve(l *listener.Listener) error {
	s.mu.Lock()
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	o, err := s.Ready(l, l.Bound())
	if err != nil {
		return err
	}
	o.Open()
	return nil
}

// engineFor is who moves the bytes of l: QUIC is goroutines whatever the system has.
// Every engine feeds the same loops.
func (s *Server) engineFor(l *listener.Listener) Engine {
	if _, portable := s.engine.(*Portable); portable || l.Protocol != listener.QUIC {
		return s.engine
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.carrier == nil {
		s.carrier = NewPortable(s).(*Portable)
	}
	return s.carrier
}

// engines are those that were asked to serve something.
func (s *Server) engines() []Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.carrier != nil {
		return []Engine{s.engine, s.carrier}
	}
	return []Engine{s.engine}
}

// born counts a connection before a loop is told of it, and died after its loop
// let it go: a loop must not leave while one is on its way to it from another.
func (s *Server) born() { s.live.Add(1) }

func (s *Server) died() {
	if s.live.Add(-1) == 0 {
		for _, l := range s.loops {
			l.inbox.ring() // one that is ending waits for this
		}
	}
}

// pick spreads new connections over the loops; each moves to its session's home
// once it is known.
func (s *Server) pick() *Loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = (s.next + 1) % len(s.loops)
	return s.loops[s.next]
}

// Shutdown stops accepting, sends DISCONNECT 0x8B to everybody, and returns when
// all connections have gone or ctx is done; then nothing of the server runs.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	listeners := s.listeners
	s.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	for _, e := range s.engines() {
		e.Stop()
	}
	for _, l := range s.loops {
		l.inbox.post(event{kind: evCall, fn: (*Loop).end})
	}
	go func() {
		s.running.Wait()
		close(s.ended)
	}()
	select {
	case <-s.ended:
	case <-ctx.Done():
		for _, l := range s.loops {
			l.inbox.post(event{kind: evCall, fn: (*Loop).drop})
		}
		<-s.ended
	}
	for _, e := range s.engines() {
		e.Close()
	}
	s.dealing.Wait()
}

// end closes every connection of the loop with a word, and lets the loop leave
// after the last.
func (l *Loop) end() {
	l.ending = true
	l.home.ShutDown(l.now)
	for _, c := range l.conns {
		if c != nil && c.stage != open && c.stage != closing {
			l.abort(c, broker.CauseShutdown)
		}
	}
}

// drop closes what end could not.
func (l *Loop) drop() {
	for _, c := range l.conns {
		if c != nil {
			l.abort(c, broker.CauseShutdown)
		}
	}
	l.poll.abandon()
}

// Each runs fn on every loop, with its home, and waits for all. It is for the
// control plane: reload, kick, counts. fn must not block and must not share what
// it changes between loops without a lock. After Shutdown it does nothing.
func (s *Server) Each(fn func(now time.Time, h *broker.Home)) {
	ran := make(chan struct{}, len(s.loops))
	for _, l := range s.loops {
		l.inbox.post(event{kind: evCall, fn: func(l *Loop) {
			defer func() { ran <- struct{}{} }()
			fn(l.now, l.home)
		}})
	}
	for range s.loops {
		select {
		case <-ran:
		case <-s.ended:
			return
		}
	}
}

// refusedAtDoor writes down that a limit of the door kept a connection out, once a
// minute, limit, listener and source network.
func (s *Server) refusedAtDoor(now time.Time, r listener.Refusal, from netip.AddrPort, l *listener.Listener) {
	s.broker.Log().Refused(now, slog.LevelWarn, "connection refused at the door", from.Addr(), l.Name, string(r), func() []slog.Attr {
		return []slog.Attr{slog.String("reason", string(r)), slog.String("limit", r.Key(l.Name)), slog.String("address", whenceAddr(from.Addr())), slog.String("listener", l.Name)}
	})
}
