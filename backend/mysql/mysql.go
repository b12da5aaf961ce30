// Package mysql asks MySQL and MariaDB for package backend: one prepared statement with
// bound parameters in a session that cannot write, over TLS of our own settings. The
// library's conveniences that a hostile server could use are off: it reads no local file
// for the server (LOAD DATA LOCAL), sends no password in the clear and does not fall back
// to plain text.
//
// Question: Text is the statement with ? for each of Args. Columns come as text.
package mysql

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Options are where to connect and as whom.
type Options struct {
	Servers            []backend.Server // at least one
	Database, Username string
	Password           secret.Value  // empty: none
	TLS                *tls.Config   // nil: plain text
	Connections        int           // at once, as many as the Backend has workers
	Timeout            time.Duration // for the server, of a statement
}

// Driver is a backend.Driver.
type Driver struct {
	opt     Options
	clock   clock.Clock
	servers *backend.Servers

	mu       sync.Mutex // guards everything below
	closed   bool
	db       *sql.DB
	prepared map[string]*sql.Stmt // by text, which only configurations have
	until    time.Time            // nobody is connected to before
	pause    time.Duration        // that it lasts
}

// idleMax is how long a connection is kept that nobody uses: less than what firewalls and
// servers do.
const idleMax = 2 * time.Minute

// New connects when it is asked.
func New(opt Options, clk clock.Clock) *Driver {
	d := &Driver{opt: opt, clock: clk, servers: backend.NewServers(opt.Servers, clk)}
	d.open()
	return d
}

// open begins with no connections.
func (d *Driver) open() {
	d.prepared = map[string]*sql.Stmt{}
	d.db = sql.OpenDB(d)
	d.db.SetMaxOpenConns(max(d.opt.Connections, 1))
	d.db.SetMaxIdleConns(max(d.opt.Connections, 1))
	d.db.SetConnMaxIdleTime(idleMax)
}

// Close implements backend.Driver.
func (d *Driver) Close() {
	d.mu.Lock()
	d.closed = true
	db := d.db
	d.mu.Unlock()
	_ = db.Close()
}

// Pauses after an answer that has broken the library, which leaves a goroutine behind each
// time: a server that does it on purpose gets some twenty of them.
const (
	pauseMin = 10 * time.Second
	pauseMax = 24 * time.Hour
)

// broken makes a panic of the library an error, and has it begin anew after a pause.
func (d *Driver) broken(err *error, anew bool) {
	cause := recover()
	if cause == nil {
		return
	}
	*err = backend.Failed(backend.Garbage, "the answer broke the library (%v); the next try is in a while", cause)
	d.mu.Lock()
	d.pause = min(max(2*d.pause, pauseMin), pauseMax)
	d.until = d.clock.Now().Add(d.pause)
	old := d.db
	if anew = anew && !d.closed; anew {
		d.open()
	}
	d.mu.Unlock()
	if anew {
		_ = old.Close()
	}
}

// Ping implements backend.Driver.
func (d *Driver) Ping(ctx context.Context) (err error) {
	defer d.broken(&err, true)
	d.mu.Lock()
	db := d.db
	d.mu.Unlock()
	return judge(db.PingContext(ctx))
}

// Ask implements backend.Driver.
func (d *Driver) Ask(ctx context.Context, q backend.Question) (_ []backend.Row, err error) {
	defer d.broken(&err, true)
	stmt, err := d.statement(ctx, q.Text)
	if err != nil {
		return nil, judge(err)
	}
	args := make([]any, len(q.Args))
	for i, a := range q.Args {
		args[i] = a
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, judge(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, judge(err)
	}
	answer := backend.Answer{Max: q.RowsMax}
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, backend.Failed(backend.Garbage, "a row cannot be read as text")
		}
		row := make(backend.Row, len(columns))
		for i, v := range values {
			row[i] = backend.Field{Name: columns[i], Value: v.String, Null: !v.Valid}
		}
		if err := answer.Add(row); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, judge(err)
	}
	return answer.Rows, nil
}

// statement is prepared once; database/sql prepares it again on each connection.
func (d *Driver) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	d.mu.Lock()
	s, db := d.prepared[text], d.db
	d.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.prepared[text]; old != nil && d.db == db {
		_ = s.Close()
		return old, nil
	}
	if d.db == db {
		d.prepared[text] = s
	}
	return s, nil
}

// Numbers of errors.
const (
	errUnknownVariable = 1193
	errTimeoutMariaDB  = 1969
	errTimeoutMySQL    = 3024
	errCollation       = 1267 // illegal mix, of what a client sent
	errCollation3      = 1270 // the same of three values
	errCollationN      = 1271 // the same of many, as in IN
	errBadText         = 1366 // incorrect string value
	errConvert         = 3988
)

// judge words what the server said. Its text may repeat what a client chose, so only that
// of errors about the server, the login or the statement is shown.
func judge(err error) error {
	var said *mysql.MySQLError
	if !errors.As(err, &said) {
		return err
	}
	switch said.Number {
	case errTimeoutMariaDB, errTimeoutMySQL:
		return backend.Failed(backend.Timeout, "the statement was cancelled: it took too long")
	case errCollation, errCollation3, errCollationN, errBadText, errConvert:
		return backend.Failed(backend.Rejected, "a value of the client is none that the query takes (error %d)", said.Number)
	case 1040, 1044, 1045, 1049, 1053, 1054, 1064, 1129, 1130, 1142, 1143, 1146, 1203, 1226, 1290, 1305, 1370, 1698, 1792, 3159, 4031:
		return backend.Failed(backend.Down, "%s (error %d)", said.Message, said.Number)
	}
	return backend.Failed(backend.Down, "the server answers with error %d", said.Number)
}

// Driver implements driver.Connector.
func (d *Driver) Driver() driver.Driver { return mysql.MySQLDriver{} }

// Connect implements driver.Connector: a session at the first server that answers.
// It may run in a goroutine of database/sql, so it lets no panic out and takes no longer
// than a question.
func (d *Driver) Connect(ctx context.Context) (c driver.Conn, err error) {
	d.mu.Lock()
	paused := d.clock.Now().Before(d.until)
	d.mu.Unlock()
	if paused {
		return nil, backend.Failed(backend.Garbage, "is not connected to: an answer broke the library a while ago")
	}
	ctx, cancel := context.WithTimeout(ctx, d.opt.Timeout)
	defer cancel()
	err = d.servers.Connect(ctx, func(ctx context.Context, to backend.Server) (err error) {
		c, err = d.connect(ctx, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pause = 0
	return c, nil
}

func (d *Driver) connect(ctx context.Context, to backend.Server) (c driver.Conn, err error) {
	var raw net.Conn
	defer func() {
		if err != nil && raw != nil {
			_ = raw.Close() // for the case that the library has forgotten it
		}
	}()
	defer d.broken(&err, false)
	cfg := d.settings(to)
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, network, addr)
		return raw, err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	if c, err = connector.Connect(ctx); err != nil {
		return nil, judge(err)
	}
	if err := d.prepare(ctx, c); err != nil {
		_ = c.Close()
		return nil, judge(err)
	}
	return c, nil
}

// prepare makes the session one that only reads, and that the server ends in time.
func (d *Driver) prepare(ctx context.Context, c driver.Conn) error {
	say, ok := c.(driver.ExecerContext)
	if !ok {
		return errors.New("the library has no way to set up a session")
	}
	if _, err := say.ExecContext(ctx, "SET SESSION TRANSACTION READ ONLY", nil); err != nil {
		return err
	}
	ms := max(d.opt.Timeout.Milliseconds(), 1)
	_, err := say.ExecContext(ctx, fmt.Sprintf("SET SESSION max_statement_time=%d.%03d", ms/1000, ms%1000), nil) // MariaDB
	var said *mysql.MySQLError
	if errors.As(err, &said) && said.Number == errUnknownVariable {
		_, err = say.ExecContext(ctx, fmt.Sprintf("SET SESSION max_execution_time=%d", ms), nil) // MySQL
	}
	return err
}

func (d *Driver) settings(to backend.Server) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.DBName, cfg.User, cfg.Passwd = to.Network, to.Address, d.opt.Database, d.opt.Username, string(d.opt.Password.Reveal())
	cfg.Collation = "utf8mb4_general_ci"
	if to.Network == "tcp" {
		cfg.TLS = to.TLS(d.opt.TLS)
	}
	cfg.AllowAllFiles, cfg.AllowCleartextPasswords, cfg.AllowFallbackToPlaintext, cfg.AllowOldPasswords = false, false, false, false
	cfg.MultiStatements, cfg.InterpolateParams = false, false
	cfg.CheckConnLiveness = true
	cfg.Logger = log.New(io.Discard, "", 0) // its errors come back to us
	return cfg
}

var _ backend.Driver = (*Driver)(nil)
