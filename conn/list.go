package conn

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/broker"
)

// ErrEnded says that a question came when the loops had ended.
var ErrEnded = errors.New("the broker is stopping")

// Place is how far a listing has come. The zero value is the start.
type Place struct {
	Loop int
	broker.Place
}

// ClientInfo is a session with the connection it has now.
type ClientInfo struct {
	broker.SessionInfo
	Loop int       // the session's home
	At   time.Time // when it was so
	Connection
}

// Connection is what an operator sees of a connection; the zero value where there
// is none.
type Connection struct {
	From       netip.AddrPort
	Since      time.Time // CONNECT was accepted
	KeepAlive  time.Duration
	CleanStart bool
	OutBytes   int   // queued and not yet written
	Held       int64 // bytes that it keeps beside its session, about
	Paused     Paused
	TLS        Agreed
}

// Paused is why a connection is not read at present.
type Paused struct {
	Until  time.Time // it is over a rate, of which broker.Spending has the name; zero: no
	Home   bool      // what it published waits for another loop
	Unread bool      // it does not read the answers it gets
}

// stepsMax bounds the steps of one page, so that a search for what is not there
// answers in time, with few rows or none and the place to go on from. textMax
// bounds the names on it, bytes: clients choose them, and a thousand long ones
// would make an answer nobody can hold.
const (
	stepsMax = 100
	textMax  = 1 << 20
)

// Clients answers at most limit sessions that want admits, from the place on, and
// moves it. Each loop is asked for a step of broker.StepEffort at a time and does
// its own work between two (A179). done tells that there are no more; a page may
// be short, or empty, and not be the last. It ends early with ctx, or with
// ErrEnded when the server has.
func (s *Server) Clients(ctx context.Context, at *Place, want *broker.Selection, limit int) (rows []ClientInfo, done bool, err error) {
	return page(ctx, s, at, limit, func(l *Loop, p *broker.Place, add func(ClientInfo, int) bool) (done bool) {
		return l.home.Walk(p, want, broker.StepEffort, func(i broker.SessionInfo) bool {
			text := len(i.Key.Identity) + len(i.Key.ClientID) + len(i.By.Username) + len(i.WillTopic)
			return add(ClientInfo{SessionInfo: i, Loop: l.id, At: l.now, Connection: l.connection(&i)}, text)
		})
	})
}

// Subscriptions is Clients for subscriptions.
func (s *Server) Subscriptions(ctx context.Context, at *Place, want *broker.SubscriptionSelection, limit int) (rows []broker.SubscriptionInfo, done bool, err error) {
	return page(ctx, s, at, limit, func(l *Loop, p *broker.Place, add func(broker.SubscriptionInfo, int) bool) (done bool) {
		return l.home.WalkSubscriptions(p, want, broker.StepEffort, func(i broker.SubscriptionInfo) bool {
			return add(i, len(i.Key.Identity)+len(i.Key.ClientID)+len(i.Username)+len(i.Filter))
		})
	})
}

// EndSession is broker.Home.End, on that session's home.
func (s *Server) EndSession(ctx context.Context, loop int, ref broker.Ref) (ended bool, err error) {
	if loop < 0 || loop >= len(s.loops) {
		return false, nil
	}
	return ask(ctx, s, s.loops[loop], func(l *Loop) bool { return l.home.End(l.now, ref) })
}

// portion is what a step of a listing found.
type portion[R any] struct {
	rows []R
	text int // bytes of names in them
	at   broker.Place
	done bool // with this loop
}

// page goes round the loops, step by step, until there are limit rows. add takes a
// row and the bytes of its names, and tells whether there is room for more.
func page[R any](ctx context.Context, s *Server, at *Place, limit int, step func(l *Loop, p *broker.Place, add func(R, int) bool) (done bool)) (rows []R, done bool, err error) {
	text := 0
	for range stepsMax {
		if at.Loop < 0 || at.Loop >= len(s.loops) || len(rows) >= limit || text >= textMax {
			break
		}
		// By value in both directions: a caller that gave up shares nothing with the
		// loop, which will run the step all the same.
		from, room, textRoom := at.Place, limit-len(rows), textMax-text
		p, err := ask(ctx, s, s.loops[at.Loop], func(l *Loop) (p portion[R]) {
			p.at = from
			p.done = step(l, &p.at, func(r R, text int) bool {
				p.rows, p.text = append(p.rows, r), p.text+text
				return len(p.rows) < room && p.text < textRoom
			})
			return p
		})
		if err != nil {
			return nil, false, err
		}
		rows, text, at.Place = append(rows, p.rows...), text+p.text, p.at
		if p.done {
			*at = Place{Loop: at.Loop + 1}
		}
	}
	return rows, at.Loop < 0 || at.Loop >= len(s.loops), nil
}

// ask runs fn on a loop and waits for the answer. fn must not block.
func ask[R any](ctx context.Context, s *Server, l *Loop, fn func(*Loop) R) (r R, err error) {
	answer := make(chan R, 1)
	l.inbox.post(event{kind: evCall, fn: func(l *Loop) { answer <- fn(l) }})
	select {
	case r = <-answer:
		return r, nil
	case <-ctx.Done():
		return r, ctx.Err()
	case <-s.ended:
		return r, ErrEnded
	}
}

// connection is what the loop knows of an online session's connection.
func (l *Loop) connection(i *broker.SessionInfo) Connection {
	c := l.at(i.Conn)
	if c == nil || !i.Online {
		return Connection{}
	}
	out := Connection{
		From: c.from(), Since: time.UnixMilli(c.opened), CleanStart: c.clean, KeepAlive: c.pace.patience() * 2 / 3, OutBytes: c.out.cost(), Held: l.held(c), TLS: c.sock.Agreed(),
		Paused: Paused{Home: c.pace.held, Unread: c.pace.choked},
	}
	if c.pace.timed {
		out.Paused.Until = l.server.time(c.pace.until)
	}
	return out
}
