// Package redis asks Redis and what speaks like it for package backend: HMGET and HGETALL,
// one connection for each question under way, in the second version of its protocol. It
// is a client of its own: what is needed are four commands and one kind of answer, and a
// library that shares a connection among all reads in a goroutine of its own, which a
// server's wrong word must not be able to end the process from (ADR 0002).
//
// Question: Text is the command, Args its arguments, each written with its length before
// it, so that nothing in one can begin another. A key that is not there, or has none of the
// fields, is no row.
package redis

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Options are where to connect and as whom.
type Options struct {
	Servers  []backend.Server // at least one
	Database int              // 0: the first
	Username string           // empty: the default user
	Password secret.Value     // empty: none
	TLS      *tls.Config      // nil: plain text
}

// Driver is a backend.Driver.
type Driver struct {
	opt     Options
	servers *backend.Servers
	idle    backend.Idle[*conn]
}

// New connects when it is asked.
func New(opt Options, clk clock.Clock) *Driver {
	d := &Driver{opt: opt, servers: backend.NewServers(opt.Servers, clk)}
	d.idle.End = (*conn).end
	return d
}

// Close implements backend.Driver.
func (d *Driver) Close() { d.idle.Close() }

// Ping implements backend.Driver.
func (d *Driver) Ping(ctx context.Context) error {
	_, err := d.say(ctx, "PING")
	return err
}

// Ask implements backend.Driver.
func (d *Driver) Ask(ctx context.Context, q backend.Question) ([]backend.Row, error) {
	a, err := d.say(ctx, append([]string{q.Text}, q.Args...)...)
	if err != nil {
		return nil, err
	}
	if a.kind != '*' {
		return nil, backend.Failed(backend.Garbage, "the answer to %s is no list", q.Text)
	}
	var row backend.Row
	switch q.Text {
	case "HMGET":
		if len(a.list) != len(q.Args)-1 {
			return nil, backend.Failed(backend.Garbage, "HMGET has %d values for %d fields", len(a.list), len(q.Args)-1)
		}
		found := false
		for i, v := range a.list {
			row = append(row, backend.Field{Name: q.Args[i+1], Value: v.text, Null: v.null})
			found = found || !v.null
		}
		if !found {
			return nil, nil
		}
	case "HGETALL":
		if len(a.list)%2 != 0 {
			return nil, backend.Failed(backend.Garbage, "HGETALL has a field without a value")
		}
		for i := 0; i < len(a.list); i += 2 {
			row = append(row, backend.Field{Name: a.list[i].text, Value: a.list[i+1].text})
		}
		if len(row) == 0 {
			return nil, nil
		}
	default:
		return nil, backend.Failed(backend.Garbage, "BUG: %s is no question", q.Text)
	}
	return []backend.Row{row}, nil
}

// say sends a command and reads its answer. A connection that has died while nobody used
// it is replaced once; nothing that is said here changes anything.
func (d *Driver) say(ctx context.Context, words ...string) (answer, error) {
	c, old := d.idle.Take()
	for {
		if !old {
			var err error
			if c, err = d.connect(ctx); err != nil {
				return answer{}, err
			}
		}
		a, err := c.say(ctx, words...)
		if err == nil {
			d.idle.Put(c)
			return a, nil
		}
		c.end()
		if !old || ctx.Err() != nil || !errors.Is(err, errGone) {
			return answer{}, err
		}
		d.idle.Clear()
		old = false
	}
}

func (d *Driver) connect(ctx context.Context) (c *conn, err error) {
	err = d.servers.Connect(ctx, func(ctx context.Context, to backend.Server) error {
		raw, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, to.Network, to.Address)
		if err != nil {
			return err
		}
		if d.opt.TLS != nil && to.Network == "tcp" {
			secured := tls.Client(raw, to.TLS(d.opt.TLS))
			if err := secured.HandshakeContext(ctx); err != nil {
				_ = raw.Close()
				return err
			}
			raw = secured
		}
		c = newConn(raw)
		if err := d.greet(ctx, c); err != nil {
			c.end()
			return err
		}
		return nil
	})
	return c, err
}

func (d *Driver) greet(ctx context.Context, c *conn) error {
	if !d.opt.Password.Empty() {
		words := []string{"AUTH", string(d.opt.Password.Reveal())}
		if d.opt.Username != "" {
			words = []string{"AUTH", d.opt.Username, string(d.opt.Password.Reveal())}
		}
		if _, err := c.say(ctx, words...); err != nil {
			return fmt.Errorf("login: %w", err)
		}
	}
	if d.opt.Database != 0 {
		if _, err := c.say(ctx, "SELECT", strconv.Itoa(d.opt.Database)); err != nil {
			return err
		}
	}
	return nil
}

var _ backend.Driver = (*Driver)(nil)

// answer is what a server says to one command.
type answer struct {
	kind byte // + : $ *
	text string
	null bool
	list []answer
}

// Bounds of an answer, beside backend.AnswerBytesMax.
const (
	listMax = 4096 // of fields and values
	lineMax = 1024
)

var errGone = errors.New("the connection has ended")

type conn struct {
	net.Conn
	in   *bufio.Reader
	room int // of the answer that is read
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, in: bufio.NewReaderSize(c, 4096)} }

func (c *conn) end() { _ = c.Close() }

// say does not return later than ctx ends. After an error the connection is of no use.
func (c *conn) say(ctx context.Context, words ...string) (answer, error) {
	until, _ := ctx.Deadline()
	if err := c.SetDeadline(until); err != nil {
		return answer{}, errGone
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(c.Conn, b.String()); err != nil {
		return answer{}, c.failed(err)
	}
	c.room = backend.AnswerBytesMax
	a, err := c.read(true)
	if err == nil && c.in.Buffered() > 0 {
		err = backend.Failed(backend.Garbage, "the answer has something behind its end")
	}
	return a, err
}

func (c *conn) failed(err error) error {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return context.DeadlineExceeded
	}
	return errGone
}

// read takes one answer; only the outermost may be a list.
func (c *conn) read(outermost bool) (answer, error) {
	line, err := c.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull) || len(line) > lineMax:
		return answer{}, backend.Failed(backend.Garbage, "a line of the answer is too long")
	case err != nil:
		return answer{}, c.failed(err)
	case len(line) < 3 || line[len(line)-2] != '\r':
		return answer{}, backend.Failed(backend.Garbage, "the answer is not of the protocol of Redis")
	}
	a := answer{kind: line[0], text: string(line[1 : len(line)-2])}
	switch a.kind {
	case '+', ':':
		return a, nil
	case '-':
		return a, refusal(a.text)
	case '$', '*':
	default:
		return a, backend.Failed(backend.Garbage, "the answer is not of the protocol of Redis")
	}
	n, err := strconv.Atoi(a.text)
	switch {
	case err != nil || n < -1:
		return a, backend.Failed(backend.Garbage, "the answer has a length that is none")
	case n == -1:
		return answer{kind: a.kind, null: true}, nil
	case a.kind == '$':
		if n > c.room {
			return a, backend.Failed(backend.Excess, "the answer is longer than %d bytes", backend.AnswerBytesMax)
		}
		c.room -= n
		text := make([]byte, n+2)
		if _, err := io.ReadFull(c.in, text); err != nil {
			return a, c.failed(err)
		}
		if text[n] != '\r' || text[n+1] != '\n' {
			return a, backend.Failed(backend.Garbage, "the answer is longer than it says")
		}
		a.text = string(text[:n])
		return a, nil
	case !outermost:
		return a, backend.Failed(backend.Garbage, "the answer has a list inside of a list")
	case n > listMax:
		return a, backend.Failed(backend.Excess, "the answer has more than %d fields and values", listMax)
	}
	a.text, a.list = "", make([]answer, 0, min(n, 64))
	for range n {
		v, err := c.read(false)
		if err != nil {
			return a, err
		}
		a.list = append(a.list, v)
	}
	return a, nil
}

// refusal words what the server said. It speaks of the login and itself; of another error
// only the first word is shown, which is its name.
func refusal(text string) error {
	name, _, _ := strings.Cut(text, " ")
	switch name {
	case "NOAUTH", "WRONGPASS", "NOPERM", "LOADING", "MASTERDOWN", "OOM", "MOVED", "READONLY", "CLUSTERDOWN":
		return backend.Failed(backend.Down, "%q", text)
	case "WRONGTYPE":
		return backend.Failed(backend.Rejected, "the key of this client is no hash (WRONGTYPE)")
	}
	if len(name) > 20 {
		name = name[:20]
	}
	return backend.Failed(backend.Down, "the server answers with the error %q", name)
}
