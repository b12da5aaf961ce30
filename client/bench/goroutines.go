package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// goroutines is the engine for WebSocket, unix sockets and other systems: a
// goroutine for each connection that reads, and one that writes while there is
// something to write. What they do reaches the run as events, one at a time.
type goroutines struct {
	dial   func(context.Context) (net.Conn, error)
	limit  time.Duration // for connecting
	tick   func() int64
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	events chan event
	turned []*line
	spare  []*line
	pipes  map[*pipe]bool
}

// event is what a goroutine has to tell the run.
type event struct {
	p     *pipe
	kind  eventKind
	bytes []byte
	err   error
}

type eventKind byte

const (
	eventOpened eventKind = iota
	eventBytes
	eventDrained
	eventEnded
)

// pipe is the engine's part of a line. It is never used for a second connection, so
// that what comes late from an old one is told from what the new one says.
type pipe struct {
	l    *line // nil: closed by the run
	free chan []byte

	mu      sync.Mutex // guards all below
	conn    net.Conn   // nil: connecting
	pending []byte
	writing bool
	gone    bool
}

const (
	eventsBuffered = 4096
	chunkBytes     = 4 << 10
	// eventsOfTurn bounds a turn, so that the clock of the run is looked at.
	eventsOfTurn = 1024
)

func newGoroutines(dial func(context.Context) (net.Conn, error), limit time.Duration, tick func() int64) *goroutines {
	e := &goroutines{dial: dial, limit: limit, tick: tick, events: make(chan event, eventsBuffered), pipes: make(map[*pipe]bool)}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

func (e *goroutines) name() string { return "goroutines" }

func (e *goroutines) open(l *line) {
	p := &pipe{l: l, free: make(chan []byte, 1)}
	p.free <- nil
	l.pipe, l.live, l.part, l.out, l.behind = p, true, nil, l.out[:0], 0
	e.pipes[p] = true
	e.wg.Add(1)
	go e.run(p)
}

// run is the goroutine of one connection. It ends when the connection or the engine does.
func (e *goroutines) run(p *pipe) {
	defer e.wg.Done()
	ctx, cancel := context.WithTimeout(e.ctx, e.limit)
	conn, err := e.dial(ctx)
	cancel()
	if err != nil {
		e.tell(event{p: p, kind: eventEnded, err: err})
		return
	}
	defer conn.Close()
	p.mu.Lock()
	p.conn = conn
	gone := p.gone
	p.mu.Unlock()
	if gone || !e.tell(event{p: p, kind: eventOpened}) {
		return
	}
	for {
		var buf []byte
		select {
		case buf = <-p.free: // what was read before has been taken
		case <-e.ctx.Done():
			return
		}
		if buf == nil {
			buf = make([]byte, chunkBytes)
		}
		n, err := conn.Read(buf)
		if n > 0 && !e.tell(event{p: p, kind: eventBytes, bytes: buf[:n]}) {
			return
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errClosed
			}
			e.tell(event{p: p, kind: eventEnded, err: err})
			return
		}
	}
}

// tell hands the run an event; false: the engine has ended.
func (e *goroutines) tell(ev event) bool {
	select {
	case e.events <- ev:
		return true
	case <-e.ctx.Done():
		return false
	}
}

func (e *goroutines) queue(l *line) {
	if l.live && !l.queued {
		l.queued = true
		e.turned = append(e.turned, l)
	}
}

func (e *goroutines) close(l *line) {
	if l.live {
		l.live = false
		e.forget(l.pipe)
	}
}

// forget ends a pipe; its goroutines notice.
func (e *goroutines) forget(p *pipe) {
	delete(e.pipes, p)
	p.l = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	if p.conn != nil {
		_ = p.conn.Close()
	}
}

func (e *goroutines) turn(wait time.Duration) error {
	e.flush()
	e.tick()
	var first event
	select {
	case first = <-e.events:
	default:
		if wait <= 0 || len(e.turned) > 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case first = <-e.events:
			timer.Stop()
		case <-timer.C:
			e.tick()
			return nil
		}
	}
	for range eventsOfTurn {
		e.tick()
		e.handle(first)
		select {
		case first = <-e.events:
			continue
		default:
		}
		first = event{}
		break
	}
	if first.p != nil {
		e.handle(first)
	}
	e.flush()
	return nil
}

func (e *goroutines) handle(ev event) {
	l := ev.p.l
	if l == nil {
		return
	}
	switch ev.kind {
	case eventOpened:
		l.owner.opened()
	case eventDrained:
		l.behind = 0
		l.owner.drained()
	case eventBytes:
		err := l.take(ev.bytes)
		if ev.p.free <- ev.bytes[:cap(ev.bytes)]; err != nil && l.live {
			e.close(l)
			l.owner.ended(err)
		}
	case eventEnded:
		if l.live {
			e.close(l)
			l.owner.ended(ev.err)
		}
	}
}

// flush hands what was queued to those who write.
func (e *goroutines) flush() {
	list := e.turned
	e.turned = e.spare[:0]
	for _, l := range list {
		l.queued = false
		if l.live && len(l.out) > 0 {
			e.hand(l)
		}
	}
	e.spare = list[:0]
}

func (e *goroutines) hand(l *line) {
	p := l.pipe
	p.mu.Lock()
	p.pending = append(p.pending, l.out...)
	l.behind = len(p.pending)
	start := !p.writing && p.conn != nil
	p.writing = p.writing || start
	p.mu.Unlock()
	l.out = l.out[:0]
	if start {
		e.wg.Add(1)
		go e.write(p)
	}
}

// write is the goroutine that writes what is pending. It ends when there is nothing more.
func (e *goroutines) write(p *pipe) {
	defer e.wg.Done()
	var batch []byte
	for {
		p.mu.Lock()
		batch, p.pending = p.pending, batch[:0]
		if len(batch) == 0 || p.gone {
			p.writing = false
			p.mu.Unlock()
			e.tell(event{p: p, kind: eventDrained})
			return
		}
		conn := p.conn
		p.mu.Unlock()
		if _, err := conn.Write(batch); err != nil {
			e.tell(event{p: p, kind: eventEnded, err: err})
			return
		}
	}
}

// end closes everything and waits for the goroutines: each either waits for the engine's
// end, or reads or writes what is closed now.
func (e *goroutines) end() {
	e.cancel()
	for p := range e.pipes {
		e.forget(p)
	}
	e.wg.Wait()
}
