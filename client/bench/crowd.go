package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/client"
)

// crowd connects peers, not too many at a time, and counts what becomes of them.
type crowd struct {
	run     *run
	all     []*peer // that were ever begun
	todo    []*peer // not begun
	begun   int     // of this wave
	waveAt  int64   // when the wave began
	waiting []*peer // begun and not ready, the oldest first; those that are done are passed over
	pending int     // how many of waiting are not done

	live, connected, failed int
	fresh, purge            bool // durable sessions begin anew; or end with their connection
	strict                  bool // a connection that fails ends the run
	fatal                   error
	hist                    Hist
	reasons, ends           map[string]int
	spent                   int64 // that all waves took
}

func (c *crowd) init(r *run) {
	c.run, c.reasons, c.ends = r, make(map[string]int), make(map[string]int)
}

// connect begins with peers and waits until each is ready or has failed.
func (c *crowd) connect(peers []*peer) error {
	r := c.run
	r.tick()
	c.todo, c.begun, c.waveAt, c.waiting = peers, 0, r.now, c.waiting[:0]
	c.all = append(c.all, peers...)
	err := r.until(forever, func() bool { return len(c.todo) == 0 && c.pending == 0 })
	c.spent += r.now - c.waveAt
	if err == nil {
		err = c.fatal
	}
	return err
}

const forever = 1 << 62

// step begins as many as are due, and gives up those that take too long.
func (c *crowd) step() {
	r := c.run
	for len(c.todo) > 0 && c.pending < r.opt.Crowd.AtOnce {
		at := r.now
		if i := int64(r.opt.Crowd.Interval); i > 0 {
			if at = c.waveAt + int64(c.begun)*i; at > r.now {
				break
			}
		}
		p := c.todo[0]
		c.todo = c.todo[1:]
		c.begun++
		c.pending++
		p.began, p.asked, p.state = at, r.now, connecting
		c.waiting = append(c.waiting, p)
		r.eng.open(&p.line)
	}
	for len(c.waiting) > 0 {
		p := c.waiting[0]
		if p.state == connecting || p.state == greeting || p.state == subscribing {
			if r.now-p.asked < int64(r.opt.Client.ConnectTimeout) {
				return
			}
			r.eng.close(&p.line)
			p.ended(context.DeadlineExceeded)
		}
		c.waiting = c.waiting[1:]
	}
}

// wait is how long until the next is due.
func (c *crowd) wait() time.Duration {
	if len(c.todo) == 0 || c.pending >= c.run.opt.Crowd.AtOnce {
		return turnMax
	}
	return time.Duration(c.waveAt + int64(c.begun)*int64(c.run.opt.Crowd.Interval) - c.run.now)
}

// greeted has a CONNACK that says success.
func (c *crowd) greeted(p *peer) {
	c.connected++
	c.live++
	c.hist.Add(c.run.now - p.began)
}

// ready has all its subscriptions.
func (c *crowd) ready(p *peer) {
	p.state = ready
	c.pending--
}

// refused did not become ready.
func (c *crowd) refused(p *peer, err error) {
	if p.acksDue > 0 {
		c.live--
	}
	c.pending--
	c.failed++
	count(c.reasons, reason(err))
	if c.strict && c.fatal == nil {
		c.fatal = explain(p, err)
	}
}

// lost was ready and is no more.
func (c *crowd) lost(p *peer, err error) {
	c.live--
	count(c.ends, reason(err))
	if c.strict && c.live == 0 && c.pending == 0 && len(c.todo) == 0 && c.fatal == nil {
		c.fatal = explain(p, err)
	}
}

// left said so.
func (c *crowd) left(*peer) { c.live-- }

// disconnect lets peers leave politely, and does not wait for long.
func (c *crowd) disconnect(peers []*peer) {
	r := c.run
	gone := func() bool {
		return !slices.ContainsFunc(peers, func(p *peer) bool { return p.state == leaving })
	}
	for _, p := range peers {
		p.leave()
	}
	// The run may have been interrupted: what is left of it is short.
	ctx := r.ctx
	r.ctx = context.WithoutCancel(ctx)
	_ = r.until(r.after(farewellMax), gone)
	r.ctx = ctx
	for _, p := range peers {
		if p.state == leaving {
			r.eng.close(&p.line)
			p.state = away
			c.live--
		}
	}
}

const farewellMax = 2 * time.Second

// reasonsMax bounds the names of failures: a broker may make some up.
const reasonsMax = 20

func count(m map[string]int, name string) {
	if _, ok := m[name]; !ok && len(m) >= reasonsMax {
		name = "others"
	}
	m[name]++
}

// reason is a short name of what ended a connection.
func reason(err error) string {
	var r *refusal
	var e *client.Error
	var n net.Error
	switch {
	case errors.As(err, &r):
		return r.Error()
	case errors.As(err, &e):
		return string(e.Kind)
	case errors.Is(err, errClosed), errors.Is(err, io.EOF):
		return "closed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "no open files left here"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no ports left here"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &n) && n.Timeout():
		return "timeout"
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return client.Printable(text)
}

// explain makes the failure of one of many an error that a person understands.
func explain(p *peer, err error) error {
	var e *client.Error
	if errors.As(err, &e) {
		return e
	}
	out := &client.Error{Kind: client.KindClosed, What: "client " + p.clientID() + " of the bench: " + reason(err), Err: err}
	var r *refusal
	switch {
	case errors.As(err, &r):
		out.Reason = r.reason
		switch r.packet {
		case "SUBACK":
			out.Kind = client.KindSubscribeRefused
			out.Help = append(out.Help, "it subscribes below "+p.run.opt.Topic+": may this user? Another place is -t TOPIC")
		case "CONNACK":
			out.Kind = client.KindConnectRefused
			out.Help = append(out.Help, "the first connection was accepted: a limit of the broker for each user, address or second may be the reason (docs/limits.md)")
		default:
			out.Kind = client.KindDisconnected
		}
	case errors.Is(err, context.DeadlineExceeded):
		out.Kind = client.KindTimeout
	}
	return out
}
