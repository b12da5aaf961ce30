// Package web asks a service over HTTP for package backend: HTTP/1.1 over one connection for
// each question under way, with a bound on all that is read. It follows no redirect, looks
// at no proxy of the environment, keeps no cookies and takes no compression. It is a client
// of its own above the reader of net/http, because a transport of that has goroutines and a
// pool beside ours, and because what is said here is words that were escaped already.
//
// Question: Text is the method; Args are what is asked for (path and query, escaped) and
// then headers, "Name: value"; Secret is the body, which is JSON. An answer is one row with
// the columns status (200 or 204) and body, which is JSON of any form for 200.
//
// Another status than 502 to 504 is BadAnswer, which opens no breaker: what a client calls itself must not be able to
// close the service for others (a 404 for its path, a 500 for a name that was not thought
// of). A row of those, without a good answer between, is trouble all the same.
//
// Rules: RFC 9110, RFC 9112; attacks A122, A125.
package web

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Bounds of one answer, in bytes.
const (
	BodyBytesMax   = 64 << 10 // a hundred rules with long topics are a third of it
	HeaderBytesMax = 16 << 10
)

// Header is one that every question has.
type Header struct {
	Name  string
	Value secret.Value // visible ASCII and blanks
}

// Options are where the service is and who we are.
type Options struct {
	Server   backend.Server
	Host     string       // of the header
	Base     string       // before the path of every question: empty, or begins with / and ends with none
	Username string       // with Password: Basic; empty: Password is a Bearer token
	Password secret.Value // empty: neither
	Headers  []Header
	TLS      *tls.Config // nil: plain text

	// Failures in a row, over at least TroubleAfter, are trouble; 0: never.
	Failures int
	// Troubled is told when they are and why, and when an answer is good again; nil: nobody
	// is.
	Troubled func(now time.Time, yes bool, why string)
}

// Driver is a backend.Driver.
type Driver struct {
	opt     Options
	servers *backend.Servers
	idle    backend.Idle[*conn]
	trouble trouble
	clock   clock.Clock
}

// New connects when it is asked.
func New(opt Options, clk clock.Clock) *Driver {
	d := &Driver{opt: opt, clock: clk, servers: backend.NewServers([]backend.Server{opt.Server}, clk)}
	d.idle.End = (*conn).end
	return d
}

// Close implements backend.Driver.
func (d *Driver) Close() { d.idle.Close() }

// Ping implements backend.Driver. Whatever status comes, somebody is there who answers,
// unless it says of itself that it cannot.
func (d *Driver) Ping(ctx context.Context) error {
	a, err := d.say(ctx, "GET", d.head("GET", "/", nil), nil)
	if err != nil || a.status < 500 {
		return err
	}
	return unable(a.status)
}

// Ask implements backend.Driver.
func (d *Driver) Ask(ctx context.Context, q backend.Question) ([]backend.Row, error) {
	if len(q.Args) == 0 || !sayable(q.Text, q.Args) {
		return nil, backend.Failed(backend.Rejected, "BUG: the question cannot be written in HTTP")
	}
	a, err := d.say(ctx, q.Text, d.head(q.Text, q.Args[0], q.Args[1:]), q.Secret.Reveal())
	var row backend.Row
	if err == nil {
		row, err = a.row()
	}
	switch kind := backend.KindOf(err); kind {
	case backend.Answered:
		d.trouble.good(d.clock.Now(), d.opt.Troubled)
	case backend.BadAnswer, backend.Excess:
		d.trouble.bad(d.clock.Now(), d.opt.Failures, err.Error(), d.opt.Troubled)
	}
	if err != nil {
		return nil, err
	}
	return []backend.Row{row}, nil
}

// sayable tells whether nothing in the words begins another line: who makes them has
// escaped what clients chose, and a second look costs nothing.
func sayable(method string, args []string) bool {
	if method != "GET" && method != "POST" || !strings.HasPrefix(args[0], "/") || strings.HasPrefix(args[0], "//") {
		return false
	}
	for i, text := range args {
		for _, c := range []byte(text) {
			if c < 0x20 || c > 0x7e || c == ' ' && i == 0 {
				return false
			}
		}
	}
	return true
}

// head is all of a request that is before its body, but for the length of that.
func (d *Driver) head(method, target string, headers []string) string {
	var b strings.Builder
	b.WriteString(method + " " + d.opt.Base + target + " HTTP/1.1\r\nHost: " + d.opt.Host + "\r\nUser-Agent: redoubt\r\nAccept: application/json\r\n")
	switch {
	case d.opt.Password.Empty():
	case d.opt.Username == "":
		b.WriteString("Authorization: Bearer " + string(d.opt.Password.Reveal()) + "\r\n")
	default:
		b.WriteString("Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(d.opt.Username+":"+string(d.opt.Password.Reveal()))) + "\r\n")
	}
	for _, h := range d.opt.Headers {
		b.WriteString(h.Name + ": " + string(h.Value.Reveal()) + "\r\n")
	}
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	return b.String()
}

// say asks once. A connection that has ended while nobody used it is replaced once: the
// service may have ended it at that moment, and a question changes nothing.
func (d *Driver) say(ctx context.Context, method, head string, body []byte) (answer, error) {
	text := []byte(head)
	if method == "POST" {
		text = append(text, "Content-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n"...)
	}
	text = append(append(text, "\r\n"...), body...)
	c, old := d.idle.Take()
	for old && !c.quiet() { // it has ended, or says what nobody has asked for
		c.end()
		c, old = d.idle.Take()
	}
	for {
		if !old {
			var err error
			if c, err = d.connect(ctx); err != nil {
				return answer{}, err
			}
		}
		a, again, err := c.say(ctx, method, text)
		if err == nil && again {
			d.idle.Put(c)
			return a, nil
		}
		c.end()
		if err == nil || !old || ctx.Err() != nil || !errors.Is(err, errGone) {
			return a, err
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
		said := raw
		if d.opt.TLS != nil {
			secured := tls.Client(raw, to.TLS(d.opt.TLS))
			if err := secured.HandshakeContext(ctx); err != nil {
				_ = raw.Close()
				return err
			}
			said = secured
		}
		c = newConn(said, raw)
		return nil
	})
	return c, err
}

var _ backend.Driver = (*Driver)(nil)
