// Package ldap asks a directory for package backend: a search, and where the directory is to
// judge a password a bind as the one entry that was found. It follows no referral, pages
// nothing, and binds with no empty password, which directories take for "nobody in
// particular" and answer with yes (RFC 4513 §5.1.2).
//
// Question: Text is base?attributes?scope, Args is the filter, in which values are escaped.
// An entry is a row; attributes have the names of columns (column:attribute) or their own.
// With Secret the row has a column bound, t or f. An attribute has one value, or where the
// name of its column ends with backend.ManyValues any number of them. An attribute that comes by
// another name than it was asked for is Excess.
package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Options are where to connect and as whom.
type Options struct {
	Servers  []backend.Server // at least one
	Username string           // a distinguished name; empty: anonymous
	Password secret.Value     // never empty with a Username
	TLS      *tls.Config      // nil: plain text
	StartTLS bool             // TLS begins after a word in plain text
}

// Driver is a backend.Driver.
type Driver struct {
	opt     Options
	clock   clock.Clock
	servers *backend.Servers
	idle    backend.Idle[*session]
}

// New connects when it is asked.
func New(opt Options, clk clock.Clock) *Driver {
	d := &Driver{opt: opt, clock: clk, servers: backend.NewServers(opt.Servers, clk)}
	d.idle.End = func(c *session) { _ = c.Close() }
	return d
}

// Close implements backend.Driver.
func (d *Driver) Close() { d.idle.Close() }

// Ping implements backend.Driver.
func (d *Driver) Ping(ctx context.Context) error {
	_, err := d.search(ctx, &ldap.SearchRequest{Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)", Attributes: []string{"1.1"}, SizeLimit: 1})
	return err
}

// Ask implements backend.Driver.
func (d *Driver) Ask(ctx context.Context, q backend.Question) ([]backend.Row, error) {
	req, columns, err := request(&q)
	if err != nil {
		return nil, err
	}
	found, err := d.search(ctx, req)
	if err != nil {
		return nil, err
	}
	answer := backend.Answer{Max: q.RowsMax}
	for _, entry := range found.Entries {
		row, err := rowOf(entry, columns)
		if err == nil {
			err = answer.Add(row)
		}
		if err != nil {
			return nil, err
		}
	}
	if !q.Secret.Empty() && len(answer.Rows) == 1 {
		bound, err := d.judges(ctx, found.Entries[0].DN, q.Secret)
		if err != nil {
			return nil, err
		}
		answer.Rows[0] = append(answer.Rows[0], backend.Field{Name: "bound", Value: bound})
	}
	return answer.Rows, nil
}

// session is a connection, and what is under it.
type session struct {
	*ldap.Conn
	raw *bounded
}

// readMax bounds what one answer may have on the wire, in bytes, with TLS around it and what
// is not wanted in it: its library keeps all of an answer before we see any.
const readMax = 2 * backend.AnswerBytesMax

// bounded is a connection that ends after so many bytes.
type bounded struct {
	net.Conn
	left atomic.Int64
}

// Read implements net.Conn.
func (b *bounded) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errors.New("the answer is too long")
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(-int64(n))
	return n, err
}

// column is an attribute and what the row calls it.
type column struct {
	name, attribute string
	many            bool // it may have several values, each of which is a field
}

func request(q *backend.Question) (*ldap.SearchRequest, []column, error) {
	parts := strings.Split(q.Text, "?")
	if len(parts) != 3 || len(q.Args) != 1 {
		return nil, nil, backend.Failed(backend.Garbage, "BUG: this is no search")
	}
	req := &ldap.SearchRequest{BaseDN: parts[0], Filter: q.Args[0], SizeLimit: q.RowsMax + 1, DerefAliases: ldap.NeverDerefAliases}
	switch parts[2] {
	case "one":
		req.Scope = ldap.ScopeSingleLevel
	case "sub":
		req.Scope = ldap.ScopeWholeSubtree
	}
	var columns []column
	for _, text := range strings.Split(parts[1], ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		name, attribute, found := strings.Cut(text, ":")
		if !found {
			name, attribute = usual(text), text
		}
		name, many := strings.CutSuffix(name, backend.ManyValues)
		columns = append(columns, column{name, attribute, many && found})
		req.Attributes = append(req.Attributes, attribute)
	}
	if len(req.Attributes) == 0 {
		req.Attributes = []string{"1.1"} // none (RFC 4511 §4.5.1.8)
	}
	return req, columns, nil
}

// usual is what a row calls the attributes that directories have.
func usual(attribute string) string {
	switch strings.ToLower(attribute) {
	case "userpassword":
		return "password_hash"
	case "issuperuser":
		return "is_superuser"
	}
	return attribute
}

func rowOf(e *ldap.Entry, columns []column) (row backend.Row, err error) {
	if err := onlyAskedFor(e, columns); err != nil {
		return nil, err
	}
	for _, c := range columns {
		values := valuesOf(e, c.attribute)
		switch {
		case c.many:
			for _, v := range values {
				row = append(row, backend.Field{Name: c.name, Value: v})
			}
			continue
		case len(values) > 1:
			return nil, backend.Failed(backend.Excess, "an entry has %d values of %s, and nobody knows which counts", len(values), c.attribute)
		case len(values) == 0:
			row = append(row, backend.Field{Name: c.name, Null: true})
			continue
		}
		value := values[0]
		if at := strings.IndexByte(value, '}'); c.name == "password_hash" && strings.HasPrefix(value, "{") && at >= 0 {
			value = value[at+1:] // {CRYPT}$6$..., {ARGON2}$argon2id$...
		}
		row = append(row, backend.Field{Name: c.name, Value: value})
	}
	return row, nil
}

// onlyAskedFor refuses an entry that has an attribute by another name than one that was asked
// for. A directory may answer with more of it in another place: with a part of many values
// (mqttAclRule;range=0-1499), in a language (;lang-de), or as a subtype of it. To read the rest
// as if that was not there would lose what denies.
func onlyAskedFor(e *ldap.Entry, columns []column) error {
	for _, a := range e.Attributes {
		_, options, _ := strings.Cut(strings.ToLower(a.Name), ";")
		asked := slices.ContainsFunc(columns, func(c column) bool { return strings.EqualFold(c.attribute, a.Name) })
		if len(columns) > 0 && !asked || strings.Contains(";"+options, ";range=") {
			return backend.Failed(backend.Excess, "an entry has the attribute %q, which was not asked for by that name, and nobody knows what of it counts", a.Name[:min(len(a.Name), 60)])
		}
	}
	return nil
}

// valuesOf are all of an attribute, whose name has no case and may come more than once.
func valuesOf(e *ldap.Entry, attribute string) (values []string) {
	for _, a := range e.Attributes {
		if strings.EqualFold(a.Name, attribute) {
			values = append(values, a.Values...)
		}
	}
	return values
}

// search asks on a connection that is ours; one that has died while nobody used it is
// replaced once.
func (d *Driver) search(ctx context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
	c, old := d.idle.Take()
	for {
		if !old {
			var err error
			if c, err = d.connect(ctx, d.opt.Username, d.opt.Password); err != nil {
				return nil, err
			}
		}
		c.raw.left.Store(readMax)
		found, err := within(ctx, d.clock, c.Conn, func() (*ldap.SearchResult, error) { return c.Search(req) })
		switch {
		case err == nil:
			d.idle.Put(c)
			return found, nil
		case c.raw.left.Load() <= 0:
			_ = c.Close()
			return nil, backend.Failed(backend.Excess, "the answer is longer than %d bytes", readMax)
		case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
			_ = c.Close()
			return nil, backend.Failed(backend.Excess, "the answer has more entries than are wanted")
		case ldap.IsErrorAnyOf(err, ldap.ErrorFilterCompile, ldap.LDAPResultInappropriateMatching, ldap.LDAPResultInvalidAttributeSyntax): // 18, 21: no value of that attribute
			d.idle.Put(c)
			return nil, backend.Failed(backend.Rejected, "the filter with a value of the client is none")
		}
		_ = c.Close()
		if !old || ctx.Err() != nil || !ldap.IsErrorWithCode(err, ldap.ErrorNetwork) {
			return nil, judge(err)
		}
		d.idle.Clear()
		old = false
	}
}

// judges has the directory compare a password, on a connection that is used for nothing
// else: what was said on it before or after would be said as that client.
func (d *Driver) judges(ctx context.Context, dn string, password secret.Value) (bound string, err error) {
	if dn == "" || password.Empty() {
		return "f", nil
	}
	c, err := d.connect(ctx, dn, password)
	if err == nil {
		_ = c.Close()
		return "t", nil
	}
	if errors.Is(err, errCredentials) {
		return "f", nil
	}
	return "", err
}

// errCredentials is a bind that was refused for the password or the state of the entry.
var errCredentials = errors.New("the directory refuses the login")

// aboutTheEntry are the codes that speak of who wants to log in and not of the directory: a
// wrong password, an account that is locked, expired or has none. They must not count
// against the directory, or a locked account could keep everybody out.
var aboutTheEntry = []uint16{
	ldap.LDAPResultInvalidCredentials, ldap.LDAPResultConstraintViolation, ldap.LDAPResultUnwillingToPerform,
	ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultNoSuchObject,
}

// connect opens a connection at the first server that answers, as dn. A login that is
// refused by one is refused.
func (d *Driver) connect(ctx context.Context, dn string, password secret.Value) (c *session, err error) {
	refused := uint16(0)
	err = d.servers.Connect(ctx, func(ctx context.Context, to backend.Server) error {
		dialled, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, to.Network, to.Address)
		if err != nil {
			return err
		}
		bound := &bounded{Conn: dialled}
		bound.left.Store(readMax)
		var raw net.Conn = bound
		conf := d.opt.TLS
		if to.Network == "unix" {
			conf = nil
		}
		if conf != nil && !d.opt.StartTLS {
			secured := tls.Client(raw, to.TLS(conf))
			if err := secured.HandshakeContext(ctx); err != nil {
				_ = raw.Close()
				return err
			}
			raw = secured
		}
		c = &session{ldap.NewConn(raw, conf != nil && !d.opt.StartTLS), bound}
		c.Start()
		_, err = within(ctx, d.clock, c.Conn, func() (*struct{}, error) {
			if conf != nil && d.opt.StartTLS {
				if err := c.StartTLS(to.TLS(conf)); err != nil {
					return nil, err
				}
			}
			if dn == "" {
				return nil, nil
			}
			_, err := c.SimpleBind(&ldap.SimpleBindRequest{Username: dn, Password: string(password.Reveal())})
			return nil, err
		})
		if err == nil {
			return nil
		}
		_ = c.Close()
		var said *ldap.Error
		if errors.As(err, &said) && slices.Contains(aboutTheEntry, said.ResultCode) {
			refused = said.ResultCode // the others would say the same, and count it against the client
			return nil
		}
		return judge(err)
	})
	if err == nil && refused != 0 {
		return nil, fmt.Errorf("%w (code %d)", errCredentials, refused)
	}
	return c, err
}

// within ends the connection when ctx does, which is the only thing that its library heeds
// at once.
func within[T any](ctx context.Context, clk clock.Clock, c *ldap.Conn, do func() (T, error)) (T, error) {
	if until, ok := ctx.Deadline(); ok {
		c.SetTimeout(max(until.Sub(clk.Now()), time.Millisecond))
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	v, err := do()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return v, err
}

// judge words what the directory said: codes, and no text, which may name entries.
func judge(err error) error {
	var said *ldap.Error
	if !errors.As(err, &said) || said.ResultCode >= ldap.ErrorNetwork {
		return err
	}
	return backend.Failed(backend.Down, "the directory answers %s (code %d)", fmt.Sprintf("%q", ldap.LDAPResultCodeMap[said.ResultCode]), said.ResultCode)
}

var _ backend.Driver = (*Driver)(nil)
