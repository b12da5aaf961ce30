// Package mongodb asks MongoDB, and what speaks like it, for package backend: one find, on
// one connection for each question under way, as OP_MSG. It is a client of its own, as that
// of Redis is (ADR 0002): what is needed are four commands, and the library for it has a pool,
// retries and monitors of its own, which read in goroutines that nobody could keep from
// ending the process, and takes answers of 48 MB.
//
// Question: Text is collection?fields?order?filter, in which Filter has put numbers where Args
// go; these are written as strings, with their length before them, so that none is ever an
// operator. Fields are column:path, with backend.ManyValues behind the column where an array
// gives a field for each of its values; * are all, without those that have a - before them.
//
// Rules: the MongoDB wire protocol (OP_MSG), bsonspec.org, RFC 7677.
package mongodb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Options are where to connect and as whom.
type Options struct {
	Servers  []backend.Server // at least one
	Database string
	Username string       // empty: nobody logs in
	Source   string       // the database that has the user
	Password secret.Value // by SCRAM-SHA-256
	TLS      *tls.Config  // nil: plain text
}

// Driver is a backend.Driver.
type Driver struct {
	opt     Options
	clock   clock.Clock
	servers *backend.Servers
	idle    backend.Idle[*conn]
}

// New connects when it is asked.
func New(opt Options, clk clock.Clock) *Driver {
	d := &Driver{opt: opt, clock: clk, servers: backend.NewServers(opt.Servers, clk)}
	d.idle.End = (*conn).end
	return d
}

// Close implements backend.Driver.
func (d *Driver) Close() { d.idle.Close() }

// Ping implements backend.Driver.
func (d *Driver) Ping(ctx context.Context) error {
	_, err := d.run(ctx, newBuilder().int32("ping", 1).text("$db", "admin").document())
	return err
}

// Ask implements backend.Driver.
func (d *Driver) Ask(ctx context.Context, q backend.Question) ([]backend.Row, error) {
	for _, a := range q.Args {
		if !utf8.ValidString(a) {
			return nil, backend.Failed(backend.Rejected, "a value of the client is no UTF-8, of which the texts of MongoDB are")
		}
	}
	parts := strings.SplitN(q.Text, "?", 4)
	if len(parts) != 4 {
		return nil, backend.Failed(backend.Garbage, "BUG: this is no find")
	}
	fields := fieldsOf(parts[1])
	w := newBuilder().text("find", parts[0])
	if err := writeFilter(w, "filter", parts[3], q.Args); err != nil {
		return nil, err
	}
	if !fields.all {
		w.begin(typeDocument, "projection").int32("_id", 0)
		for _, path := range fields.paths() {
			w.int32(path, 1)
		}
		w.end()
	}
	if parts[2] != "" {
		w.begin(typeDocument, "sort").int32(parts[2], 1).end()
	}
	w.int32("limit", int32(q.RowsMax+1)).int32("batchSize", int32(q.RowsMax+1)).bool("singleBatch", true)
	if until, ok := ctx.Deadline(); ok {
		w.int64("maxTimeMS", max(until.Sub(d.clock.Now()).Milliseconds(), 1))
	}
	// Texts are equal when their bytes are, whatever the collection has for its own.
	w.begin(typeDocument, "collation").text("locale", "simple").end()
	w.text("$db", d.opt.Database).begin(typeDocument, "$readPreference").text("mode", "primaryPreferred").end()
	doc, err := d.run(ctx, w.document())
	if err != nil {
		return nil, err
	}
	return rowsOf(doc, fields, q.RowsMax)
}

// rowsOf reads the documents of a find.
func rowsOf(doc []byte, f fields, most int) ([]backend.Row, error) {
	cursor, ok := find(doc, "cursor")
	batch := value{}
	if ok && cursor.kind == typeDocument {
		batch, ok = find(cursor.raw, "firstBatch")
	}
	if !ok || batch.kind != typeArray {
		return nil, backend.Failed(backend.Garbage, "the answer has no documents, nor none")
	}
	answer := backend.Answer{Max: most}
	err := elements(batch.raw, func(_ string, v value) error {
		if v.kind != typeDocument {
			return errBSON
		}
		row, err := f.row(v.raw)
		if err != nil {
			return err
		}
		return answer.Add(row)
	})
	if errors.Is(err, errBSON) {
		err = backend.Failed(backend.Garbage, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	return answer.Rows, nil
}

// run says a command on a connection that is ours. One that has died while nobody used it,
// or whose server is no longer who it was, is replaced once; nothing that is said changes
// anything.
func (d *Driver) run(ctx context.Context, command []byte) ([]byte, error) {
	c, old := d.idle.Take()
	for {
		if !old {
			var err error
			if c, err = d.connect(ctx); err != nil {
				return nil, err
			}
		}
		doc, err := c.run(ctx, command)
		if err == nil {
			if err = refused(doc); err == nil {
				d.idle.Put(c)
				return doc, nil
			}
		}
		c.end()
		var said *refusal
		if !old || ctx.Err() != nil || !errors.Is(err, errGone) && !(errors.As(err, &said) && slices.Contains(moved, said.code)) {
			return nil, judge(err)
		}
		d.idle.Clear()
		old = false
	}
}

// moved are the codes of a server that is being stopped, or is no longer one to be asked.
var moved = []int64{91, 189, 10107, 11600, 11602, 13435, 13436}

// judge words what the server said.
func judge(err error) error {
	var said *refusal
	switch {
	case !errors.As(err, &said):
		return err
	case said.code == 50: // maxTimeMS
		return backend.Failed(backend.Timeout, "the find was given up: it took too long")
	}
	return backend.Failed(backend.Down, "%v", said)
}

// connect opens a connection at the first server that answers, and logs in.
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
			return judge(err)
		}
		return nil
	})
	return c, err
}

// greet learns what the server is, and logs in.
func (d *Driver) greet(ctx context.Context, c *conn) error {
	doc, err := c.run(ctx, newBuilder().int32("hello", 1).text("$db", "admin").document())
	if err == nil {
		err = refused(doc)
	}
	if err != nil {
		return err
	}
	is := func(name string) bool {
		v, ok := find(doc, name)
		return ok && v.asBool()
	}
	router := false
	if v, ok := find(doc, "msg"); ok {
		text, _ := v.asText()
		router = text == "isdbgrid"
	}
	if !router && !is("isWritablePrimary") && !is("secondary") {
		return backend.Failed(backend.Down, "the server is neither a primary nor a secondary")
	}
	if d.opt.Username == "" {
		return nil
	}
	if err := d.login(ctx, c); err != nil {
		var said *refusal
		if errors.As(err, &said) {
			return backend.Failed(backend.Down, "the login of the broker is refused: %v", said)
		}
		return fmt.Errorf("the login of the broker: %w", err)
	}
	return nil
}

var _ backend.Driver = (*Driver)(nil)
