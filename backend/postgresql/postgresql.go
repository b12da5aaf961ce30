// Package postgresql asks PostgreSQL for package backend: one statement with bound
// parameters in a session that cannot write, over TLS of our own settings. It is not a
// pool (a worker has a connection) and takes nothing from the environment or from files
// in a home directory.
//
// Question: Text is the statement with $1, $2..., Args are their values, sent apart from
// it and as text, whatever the type of the column. Columns come as the server writes
// them: t and f for a boolean, \x and hexadecimal digits for bytea.
package postgresql

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Options are where to connect and as whom.
type Options struct {
	Servers            []backend.Server // at least one; of unix the path of the socket file, .s.PGSQL.5432
	Database, Username string
	Password           secret.Value  // empty: none
	TLS                *tls.Config   // nil: plain text
	Timeout            time.Duration // for the server, of a statement
}

// Driver is a backend.Driver.
type Driver struct {
	opt     Options
	servers *backend.Servers
	idle    backend.Idle[*pgconn.PgConn]
}

// closeWithin bounds the good-bye to a server.
const closeWithin = time.Second

// New connects when it is asked.
func New(opt Options, clk clock.Clock) *Driver {
	d := &Driver{opt: opt, servers: backend.NewServers(opt.Servers, clk)}
	d.idle.End = end
	return d
}

func end(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	_ = c.Close(ctx)
}

// Close implements backend.Driver.
func (d *Driver) Close() { d.idle.Close() }

// Ping implements backend.Driver.
func (d *Driver) Ping(ctx context.Context) error {
	_, err := d.Ask(ctx, backend.Question{Text: "SELECT 1", RowsMax: 1})
	return err
}

// Ask implements backend.Driver. A connection that has died while nobody used it is
// replaced once; asking twice does no harm, because nothing is written.
func (d *Driver) Ask(ctx context.Context, q backend.Question) ([]backend.Row, error) {
	c, old := d.idle.Take()
	for {
		if !old {
			var err error
			if c, err = d.connect(ctx); err != nil {
				return nil, err
			}
		}
		rows, err := ask(ctx, c, q)
		if err == nil || backend.KindOf(err) == backend.Rejected {
			d.idle.Put(c)
			return rows, err
		}
		end(c)
		if !old || ctx.Err() != nil || !died(err) {
			return nil, judge(err)
		}
		d.idle.Clear()
		old = false
	}
}

// died tells whether the connection ended, and not the question.
func died(err error) bool {
	var said *pgconn.PgError
	return !errors.As(err, &said) && backend.KindOf(err) == backend.Down || said != nil && strings.HasPrefix(said.Code, "57P")
}

func ask(ctx context.Context, c *pgconn.PgConn, q backend.Question) ([]backend.Row, error) {
	params := make([][]byte, len(q.Args))
	for i, a := range q.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return nil, backend.Failed(backend.Rejected, "a value of the client has a zero byte, which PostgreSQL has no place for")
		}
		params[i] = []byte(a)
	}
	answer := backend.Answer{Max: q.RowsMax}
	res := c.ExecParams(ctx, q.Text, params, nil, nil, nil) // everything as text
	for res.NextRow() {
		values, columns := res.Values(), res.FieldDescriptions()
		row := make(backend.Row, len(values))
		for i, v := range values {
			row[i] = backend.Field{Name: columns[i].Name, Value: string(v), Null: v == nil}
		}
		if err := answer.Add(row); err != nil {
			return nil, err // the connection is closed with the rest unread
		}
	}
	if _, err := res.Close(); err != nil {
		var said *pgconn.PgError
		if errors.As(err, &said) && ofValues(said, len(q.Args) > 0, res.FieldDescriptions() != nil) {
			return nil, backend.Failed(backend.Rejected, "a value of the client is none that the query takes (SQLSTATE %s)", said.Code)
		}
		return nil, err
	}
	return answer.Rows, nil
}

// ofValues tells whether the server has refused what a client chose, and not the statement
// or the login. A data exception is that; so is what a cast or a function makes of a value
// that is none ('x y'::regclass, to_tsquery('&')), for which it uses the codes of statements
// that are wrong. Those of the statement itself say where in it, and it says of a right that
// is missing that it is. under tells that the statement was under way: the values themselves
// were taken.
func ofValues(said *pgconn.PgError, values, under bool) bool {
	switch {
	case strings.HasPrefix(said.Code, "22"):
		return true
	case !values || said.Position != 0 || said.Code == "42501" || ofFunction(said, under):
		return false
	}
	return strings.HasPrefix(said.Code, "42")
}

// ofFunction tells whether a statement is wrong that a function has which the query calls: it
// says where in that, or that a table, a column or a function is not there, and who asked for
// it. That is so for every client. Before the statement is under way only a value of a client
// has been read (and Where is its number), if it does not say where.
func ofFunction(said *pgconn.PgError, under bool) bool {
	if said.InternalPosition != 0 || said.InternalQuery != "" {
		return true
	}
	return under && said.Where != "" && strings.Contains(" 42P01 42703 42883 ", " "+said.Code+" ")
}

// judge words what the server said. Its text is shown where it speaks of the server, the
// login or the statement, and not where it may repeat what a client chose.
func judge(err error) error {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return err
	}
	switch {
	case len(said.Code) != 5:
	case said.Code == "57014": // statement_timeout
		return backend.Failed(backend.Timeout, "the statement was cancelled: it took too long")
	case strings.Contains(" 08 25 28 3D 42 53 57 58 ", " "+said.Code[:2]+" "):
		return backend.Failed(backend.Down, "%s (SQLSTATE %s)", said.Message, said.Code)
	}
	return backend.Failed(backend.Down, "the server answers with an error (SQLSTATE %q)", said.Code)
}

// connect opens a session at the first server that answers.
func (d *Driver) connect(ctx context.Context) (c *pgconn.PgConn, err error) {
	err = d.servers.Connect(ctx, func(ctx context.Context, to backend.Server) error {
		cfg, err := d.settings(to)
		if err != nil {
			return err
		}
		if c, err = pgconn.ConnectConfig(ctx, cfg); err != nil {
			return reason(err)
		}
		return nil
	})
	return c, err
}

// reason is what matters of an error of pgconn, which begins with what is known.
func reason(err error) error {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return judge(said)
	}
	var failed *pgconn.ConnectError
	if errors.As(err, &failed) {
		if inner := errors.Unwrap(failed); inner != nil {
			return inner
		}
	}
	return err
}

// settings start from a text that leaves nothing to the environment, and from there are
// ours.
func (d *Driver) settings(to backend.Server) (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig("host=127.0.0.1 port=5432 user=redoubt password=none dbname=redoubt sslmode=disable connect_timeout=0 target_session_attrs=any")
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Port, cfg.Fallbacks = to.Host, to.Port, nil
	if to.Network == "unix" {
		port, found := strings.CutPrefix(path.Base(to.Address), ".s.PGSQL.")
		n, err := strconv.ParseUint(port, 10, 16)
		if !found || err != nil {
			return nil, errors.New("the name of the socket is not .s.PGSQL. and a number, which PostgreSQL gives it")
		}
		cfg.Host, cfg.Port = path.Dir(to.Address), uint16(n)
	}
	cfg.Database, cfg.User, cfg.Password = d.opt.Database, d.opt.Username, string(d.opt.Password.Reveal())
	cfg.TLSConfig = nil
	if to.Network == "tcp" {
		cfg.TLSConfig = to.TLS(d.opt.TLS)
	}
	cfg.RequireAuth = ""
	if cfg.TLSConfig == nil {
		cfg.RequireAuth = "!password" // in the clear, that is
	}
	cfg.ChannelBinding, cfg.SSLCertMode, cfg.SSLNegotiation = "prefer", "allow", "postgres"
	cfg.DialFunc = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	cfg.MaxProtocolMessageBodyLen = 2 * backend.AnswerBytesMax
	cfg.ValidateConnect = nil
	cfg.OAuthTokenProvider = nil
	cfg.KerberosSpn, cfg.KerberosSrvName = "", ""
	cfg.RuntimeParams = map[string]string{
		"application_name":              "redoubt",
		"client_encoding":               "UTF8",
		"default_transaction_read_only": "on",
		"statement_timeout":             strconv.FormatInt(max(d.opt.Timeout.Milliseconds(), 1), 10),
	}
	return cfg, nil
}

var _ backend.Driver = (*Driver)(nil)
