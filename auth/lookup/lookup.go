// Package lookup knows clients and their rights by rows of a back end that somebody else
// keeps: an authenticator that compares a password with the hash in a row, and a source of
// rules. What a question is and how it is asked is the business of package backend and its
// drivers.
//
// Nothing is guessed: no row is "not mine", a row with a column or a value that is not
// understood refuses the client, and a back end that cannot be asked lets nobody in. Each
// says so in the detail, with column and value, for the operator alone.
//
// Rules: MQTT 5.0 §5.4.1, §5.4.2; checklist rows P4.1 and P4.2; docs/ops/backends.md.
package lookup

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/hash"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Asker is a backend.Backend, as far as it is needed here.
type Asker interface {
	Ask(from netip.Addr, q backend.Question, done func([]backend.Row, error))
}

// Options make an Authenticator. Name, Backend, Query and Hashers are needed.
type Options struct {
	Name    string
	Backend Asker
	Query   Query
	Hash    hash.Spec
	// Hashers verify passwords. A hash is worth milliseconds of a core, so they are
	// few, and the same for all lookups.
	Hashers *backend.Pool
	Cache   backend.CacheOptions
}

// verifiedFor is how long a password that fitted a stored hash need not be hashed again.
// It is remembered together with that hash, so another one in the row ends it at once.
const verifiedFor = time.Hour

// Authenticator compares passwords with hashes in rows. It implements
// auth.Authenticator.
type Authenticator struct {
	opt      Options
	clock    clock.Clock
	rows     *backend.Cache
	verified *backend.Cache
	dummy    *hash.Dummy
	hashed   atomic.Uint64 // passwords, those of stand-ins too
}

// New starts nothing; what it is given is closed by who made it.
func New(opt Options, clk clock.Clock) *Authenticator {
	return &Authenticator{
		opt: opt, clock: clk, dummy: opt.Hash.Dummy(),
		rows:     backend.NewCache(opt.Cache),
		verified: backend.NewCache(backend.CacheOptions{Entries: opt.Cache.Entries, Positive: verifiedFor}),
	}
}

// Name implements auth.Authenticator.
func (a *Authenticator) Name() string { return a.opt.Name }

// Forget drops everything that is remembered of answers.
func (a *Authenticator) Forget() {
	a.rows.Clear()
	a.verified.Clear()
}

// CacheStats are those of the answers.
func (a *Authenticator) CacheStats() (entries int, hits uint64) { return a.rows.Stats() }

// Authenticate implements auth.Authenticator. Without a password, and about a client who
// has none of the names that the query asks for, nobody is asked.
func (a *Authenticator) Authenticate(req *auth.Request, done func(auth.Result)) {
	if !req.HasPassword || req.Password.Empty() {
		done(denied("no password was given"))
		return
	}
	v := template.OfRequest(req)
	if !about(a.opt.Query, v) {
		done(auth.Result{Outcome: auth.Ignore, Detail: nothingAsked})
		return
	}
	q := a.opt.Query.Question(v)
	q.RowsMax = 2 // two are one too many, and worth saying so
	key := a.rows.KeyOf(q)
	if rows, ok := a.rows.Get(a.clock.Now(), key); ok {
		a.judge(req, v, rows, func(r auth.Result) {
			r.Cached = true
			done(r)
		})
		return
	}
	done = once(done)
	a.opt.Backend.Ask(req.Addr, q, func(rows []backend.Row, err error) {
		if err != nil {
			done(unavailable(err))
			return
		}
		a.rows.Put(a.clock.Now(), key, rows)
		a.judge(req, v, rows, done)
	})
}

// judge decides about the client by the rows it has.
func (a *Authenticator) judge(req *auth.Request, v *template.Values, rows []backend.Row, done func(auth.Result)) {
	switch {
	case len(rows) == 0:
		// The time of it must not tell who exists.
		a.hashing(req, done, func() auth.Result {
			a.dummy.Spend(req.Password.Reveal())
			return auth.Result{Outcome: auth.Ignore, Detail: "the query finds nobody"}
		})
		return
	case len(rows) > 1:
		a.asWrong(req, denied("the query of "+a.opt.Name+" answers more than one row for a client, so nobody knows which counts"), done)
		return
	}
	acc, err := readAccount(rows[0], binds(a.opt.Query))
	if err != nil {
		a.misread(req, err, done)
		return
	}
	if binds(a.opt.Query) {
		if !acc.bound {
			done(denied("wrong password"))
			return
		}
		done(a.allowed(req, v, acc))
		return
	}
	seen := a.verified.KeyOf(backend.Question{Text: acc.hash, Args: []string{acc.salt}, Secret: req.Password})
	if _, ok := a.verified.Get(a.clock.Now(), seen); ok {
		r := a.allowed(req, v, acc)
		r.Cached = true
		done(r)
		return
	}
	stored, err := a.opt.Hash.Parse(acc.hash, acc.salt)
	if err != nil { // no password can be compared with it
		a.misread(req, fmt.Errorf("column %s: %w", columnHash, err), done)
		return
	}
	a.dummy.Learn(stored)
	a.hashing(req, done, func() auth.Result {
		if !stored.Fits(req.Password.Reveal()) {
			return denied("wrong password")
		}
		a.verified.Put(a.clock.Now(), seen, []backend.Row{{}})
		return a.allowed(req, v, acc)
	})
}

// hashing has check run by a worker.
func (a *Authenticator) hashing(req *auth.Request, done func(auth.Result), check func() auth.Result) {
	done = once(done)
	a.opt.Hashers.Do(req.Addr, func(context.Context) {
		a.hashed.Add(1)
		done(guarded(check))
	}, func(kind backend.Kind) {
		r := auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerBusy, Detail: "the password was not checked: too many password checks are waiting"}
		switch kind {
		case backend.Closed:
			r.Reason, r.Detail = mqtt.ServerUnavailable, "the password was not checked: the server is shutting down"
		case backend.Garbage:
			r.Reason, r.Detail = mqtt.ServerUnavailable, "BUG: a bug was caught in what follows the check of the password"
		}
		done(r)
	})
}

// guarded makes a bug that a row or a password finds a refusal, and not the end of all.
func guarded(check func() auth.Result) (r auth.Result) {
	defer func() {
		if p := recover(); p != nil {
			r = auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerUnavailable, Detail: "BUG: the password was not checked: a bug was caught in the check"}
		}
	}()
	return check()
}

// allowed is who the client is: who the row says, or who the query asked for. A name that
// the query did not ask for is not proved by it.
func (a *Authenticator) allowed(req *auth.Request, v *template.Values, acc *account) auth.Result {
	p := auth.Principal{ClientID: req.ClientID, Listener: req.Listener, Method: a.opt.Name, Addr: req.Addr}
	switch q := a.opt.Query; {
	case acc.username != "":
		p.Identity, p.Username = acc.username, acc.username
	case q.Uses(template.Username):
		p.Identity, p.Username = v.Username, v.Username
	case q.Uses(template.ClientID):
		p.Identity = v.ClientID
	case q.Uses(template.CommonName):
		p.Identity = v.CommonName
	default:
		p.Identity = v.Subject
	}
	if acc.username == "" && ambiguous(p.Identity) {
		return denied("the name has spaces around it or characters that nobody sees, so the row that was found may be somebody else's; have the query answer the column username")
	}
	p.Claims = &auth.Claims{CommonName: v.CommonName, Attrs: acc.attrs, Superuser: acc.superuser}
	return auth.Result{Outcome: auth.Allow, Reason: mqtt.Success, Principal: p}
}

// ambiguous tells whether a back end may have found the row of another name. Comparisons of
// databases and directories pass over spaces at an end (PAD SPACE, which utf8mb4_bin is) and
// over characters that nobody sees; to rules and bans such names are somebody else.
func ambiguous(name string) bool {
	return strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	})
}

// identities are the names that can say who a client is.
var identities = []string{template.Username, template.ClientID, template.CommonName, template.Subject}

// nothingAsked is why a client without any of those names is ignored.
const nothingAsked = "the client has none of the names that are asked about, or they are empty"

// about tells whether the client has one of the names that the query asks for. An empty
// name is nobody's, whatever a table has in it.
func about(q Query, v *template.Values) bool {
	for _, name := range identities {
		if q.Uses(name) && v.Get(name) != "" {
			return true
		}
	}
	return false
}

// Identifies tells whether the query asks for a name that can say who a client is.
func Identifies(q Query) bool {
	for _, name := range identities {
		if q.Uses(name) {
			return true
		}
	}
	return false
}

// denied tells every client the same.
func denied(detail string) auth.Result {
	return auth.Result{Outcome: auth.Deny, Reason: mqtt.BadUserNameOrPassword, Detail: detail}
}

// misread refuses a client about whom the answer is not understood.
func misread(name string, err error) auth.Result {
	return auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerUnavailable, Detail: name + ": " + err.Error()}
}

// misread refuses a client whose row is not understood. To the client that is a wrong
// password, and takes as long: any other answer would say that there is a row.
func (a *Authenticator) misread(req *auth.Request, err error, done func(auth.Result)) {
	r := misread(a.opt.Name, err)
	r.Reason = mqtt.BadUserNameOrPassword
	a.asWrong(req, r, done)
}

// asWrong answers r when a wrong password would have been answered.
func (a *Authenticator) asWrong(req *auth.Request, r auth.Result, done func(auth.Result)) {
	if binds(a.opt.Query) { // who is asked there has hashed
		done(r)
		return
	}
	a.hashing(req, done, func() auth.Result {
		a.dummy.Spend(req.Password.Reveal())
		return r
	})
}

// Spend implements auth.Spender: it asks as for anybody, and hashes as for nobody. Where the
// back end judges passwords, it is not given one that is not for it.
func (a *Authenticator) Spend(req *auth.Request, done func(*auth.Result)) {
	v := template.OfRequest(req)
	if !req.HasPassword || req.Password.Empty() || !about(a.opt.Query, v) || binds(a.opt.Query) {
		done(nil)
		return
	}
	q := a.opt.Query.Question(v)
	q.RowsMax = 2
	key := a.rows.KeyOf(q)
	hash := func() {
		a.hashing(req, func(r auth.Result) {
			if r.Outcome != auth.Ignore { // it was not hashed
				done(&r)
				return
			}
			done(nil)
		}, func() auth.Result {
			a.dummy.Spend(req.Password.Reveal())
			return auth.Result{Outcome: auth.Ignore}
		})
	}
	if _, ok := a.rows.Get(a.clock.Now(), key); ok {
		hash()
		return
	}
	done = once(done)
	a.opt.Backend.Ask(req.Addr, q, func(rows []backend.Row, err error) {
		if err != nil {
			r := unavailable(err)
			done(&r)
			return
		}
		a.rows.Put(a.clock.Now(), key, rows)
		hash()
	})
}

// unavailable is what a question without an answer means for the client.
func unavailable(err error) auth.Result {
	r := auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerUnavailable, Detail: err.Error()}
	switch backend.KindOf(err) {
	case backend.QueueFull, backend.Timeout:
		r.Reason = mqtt.ServerBusy
	case backend.Rejected: // what he chose cannot be anybody's
		r.Outcome, r.Reason = auth.Deny, mqtt.BadUserNameOrPassword
	}
	return r
}

var _ auth.Spender = (*Authenticator)(nil)

// Columns of an account.
const (
	columnHash      = "password_hash"
	columnSalt      = "salt"
	columnSuperuser = "is_superuser"
	columnUsername  = "username"
	columnAttrs     = "client_attrs_" // and the name of the attribute
)

// account is a row that was understood.
type account struct {
	hash, salt, username string
	superuser, bound     bool
	attrs                map[string]string
}

// AttrBytesMax bounds the value of a client attribute, in bytes: it stands in topics.
const AttrBytesMax = 1024

// readAccount takes a row; bind tells whether the back end has judged the password.
func readAccount(row backend.Row, bind bool) (*account, error) {
	acc := &account{}
	seen := map[string]bool{}
	for _, f := range row {
		if seen[f.Name] {
			return nil, fmt.Errorf("the answer has two columns %s", shown(f.Name))
		}
		seen[f.Name] = true
		attr, isAttr := strings.CutPrefix(f.Name, columnAttrs)
		switch {
		case f.Name == columnHash:
			acc.hash = f.Value
		case f.Name == columnSalt:
			acc.salt = f.Value
		case f.Name == columnUsername:
			if acc.username = f.Value; f.Value == "" {
				return nil, fmt.Errorf("column %s is empty", columnUsername)
			}
		case f.Name == columnSuperuser:
			yes, err := boolean(f)
			if err != nil {
				return nil, err
			}
			acc.superuser = yes
		case f.Name == columnBound && bind:
			if f.Value != "t" && f.Value != "f" {
				return nil, fmt.Errorf("column %s has %s, which is neither t nor f", columnBound, shown(f.Value))
			}
			acc.bound = f.Value == "t"
		case isAttr && template.ValidAttr(attr):
			if len(f.Value) > AttrBytesMax {
				return nil, fmt.Errorf("column %s is longer than %d bytes", shown(f.Name), AttrBytesMax)
			}
			if acc.attrs == nil {
				acc.attrs = map[string]string{}
			}
			acc.attrs[attr] = f.Value
		default:
			return nil, fmt.Errorf("the answer has a column %s, which has no meaning; select %s, %s, %s, %s and %sNAME", shown(f.Name), columnHash, columnSalt, columnSuperuser, columnUsername, columnAttrs)
		}
	}
	if bind && !seen[columnBound] {
		return nil, fmt.Errorf("the back end has not judged the password")
	}
	if acc.hash == "" && !bind {
		return nil, fmt.Errorf("column %s is missing or empty", columnHash)
	}
	return acc, nil
}

// boolean reads the ways databases write one; nothing is false.
func boolean(f backend.Field) (bool, error) {
	switch strings.ToLower(f.Value) {
	case "", "0", "f", "false", "no", "\x00":
		return false, nil
	case "1", "t", "true", "yes", "\x01":
		return true, nil
	}
	return false, fmt.Errorf("column %s has %s, which is neither true nor false", shown(f.Name), shown(f.Value))
}

// shown keeps what a back end sent fit for one line of a log.
func shown(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%q...", s[:40])
	}
	return fmt.Sprintf("%q", s)
}
