package lookup

import (
	"errors"
	"fmt"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
)

// ServiceOptions make a Service. Name, Backend and Call are needed.
type ServiceOptions struct {
	Name    string
	Backend Asker
	Call    *Call
	// NoContent has status 204 mean that the client may come in; else it is no answer.
	NoContent bool
	// Superuser and Attributes have is_superuser and client_attrs of an answer believed.
	Superuser, Attributes bool
	Cache                 backend.CacheOptions
}

// Service is an authenticator that has somebody else judge a client, over HTTP. What is no
// answer, whatever it is, refuses the client: it is never an allow, and never passes the
// client on to the next authenticator.
type Service struct {
	opt     ServiceOptions
	clock   clock.Clock
	allowed *backend.Cache // answers that let in, apart so that strangers push none out
	others  *backend.Cache
}

// NewService starts nothing; what it is given is closed by who made it.
func NewService(opt ServiceOptions, clk clock.Clock) *Service {
	return &Service{
		opt: opt, clock: clk,
		allowed: backend.NewCache(backend.CacheOptions{Entries: opt.Cache.Entries, Positive: opt.Cache.Positive}),
		others:  backend.NewCache(backend.CacheOptions{Entries: opt.Cache.Entries, Positive: opt.Cache.Negative}),
	}
}

// Name implements auth.Authenticator.
func (s *Service) Name() string { return s.opt.Name }

// Forget drops everything that is remembered of answers.
func (s *Service) Forget() {
	s.allowed.Clear()
	s.others.Clear()
}

// cachedBytesMax bounds an answer that is remembered: most are a hundred bytes, and there may
// be ten thousand.
const cachedBytesMax = 4 << 10

// Authenticate implements auth.Authenticator.
func (s *Service) Authenticate(req *auth.Request, done func(auth.Result)) {
	c := s.opt.Call
	if c.Uses(template.Password) && (!req.HasPassword || req.Password.Empty()) {
		done(denied("no password was given"))
		return
	}
	v := template.OfRequest(req)
	if !about(c, v) {
		done(auth.Result{Outcome: auth.Ignore, Detail: nothingAsked})
		return
	}
	if !c.Uses(template.Password) && v.CommonName == "" && v.Subject == "" { // nothing that proves anything
		done(auth.Result{Outcome: auth.Ignore, Detail: "the client has shown neither a password nor a certificate that would be asked about"})
		return
	}
	if err := c.refuse(v); err != nil {
		done(denied(err.Error()))
		return
	}
	q := c.Question(v)
	q.RowsMax = 1
	q.Understood = func(rows []backend.Row) error {
		_, err := s.understand(rows)
		return err
	}
	now, key, other := s.clock.Now(), s.allowed.KeyOf(q), s.others.KeyOf(q)
	rows, known := s.allowed.Get(now, key)
	if !known {
		rows, known = s.others.Get(now, other)
	}
	if known {
		r := s.judge(req, v, rows)
		r.Cached = true
		done(r)
		return
	}
	done = once(done)
	s.opt.Backend.Ask(req.Addr, q, func(rows []backend.Row, err error) {
		if err != nil {
			r := unavailable(fmt.Errorf("%s: %w", s.opt.Name, err))
			r.Outcome = auth.Unavailable // a status that is no answer does not say no, either
			if r.Reason == mqtt.BadUserNameOrPassword {
				r.Reason = mqtt.ServerUnavailable
			}
			done(r)
			return
		}
		r := s.judge(req, v, rows)
		if len(rows) == 1 && len(rows[0][1].Value) <= cachedBytesMax {
			switch r.Outcome {
			case auth.Allow:
				s.allowed.Put(s.clock.Now(), key, rows)
			case auth.Deny, auth.Ignore:
				s.others.Put(s.clock.Now(), other, rows)
			}
		}
		done(r)
	})
}

// judge decides about the client by the answer there is.
func (s *Service) judge(req *auth.Request, v *template.Values, rows []backend.Row) auth.Result {
	return guarded(func() auth.Result {
		verdict, err := s.understand(rows)
		if err != nil {
			return misread(s.opt.Name, err)
		}
		switch now := s.clock.Now(); {
		case verdict.result == "ignore":
			return auth.Result{Outcome: auth.Ignore, Detail: s.opt.Name + ": the service says ignore"}
		case verdict.result == "deny":
			return denied(s.opt.Name + ": the service says no")
		case !verdict.claims.Until.IsZero() && !now.Before(verdict.claims.Until):
			return denied(s.opt.Name + ": the service says yes until a time that has passed (expire_at, in seconds since 1970)")
		}
		return s.enter(req, v, verdict)
	})
}

// understand reads an answer; what is none is the service's fault, and counts as that.
func (s *Service) understand(rows []backend.Row) (d *verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("BUG: a bug was caught in reading the answer")
		}
	}()
	status, body, err := httpAnswer(rows)
	switch {
	case err != nil:
		return nil, err
	case status == "204" && s.opt.NoContent:
		return &verdict{result: "allow"}, nil
	case status == "204":
		return nil, errors.New("the service answers 204 (No Content), which lets nobody in: see no_content")
	}
	return s.read(body)
}

// enter is who the client is: who the answer says, or whom a password was asked for, or whose
// certificate the listener has accepted.
func (s *Service) enter(req *auth.Request, v *template.Values, d *verdict) auth.Result {
	p := auth.Principal{ClientID: req.ClientID, Listener: req.Listener, Method: s.opt.Name, Addr: req.Addr}
	byPassword := s.opt.Call.Uses(template.Password)
	switch c := s.opt.Call; {
	case d.username != "":
		p.Identity, p.Username = d.username, d.username
	case byPassword && c.Uses(template.Username):
		p.Identity, p.Username = v.Username, v.Username
	case byPassword && c.Uses(template.ClientID):
		p.Identity = v.ClientID
	case c.Uses(template.CommonName):
		p.Identity = v.CommonName
	default:
		p.Identity = v.Subject
	}
	if ambiguous(p.Identity) {
		return denied(s.opt.Name + ": the name has spaces around it or characters that nobody sees, so the service may have judged somebody else; have it answer username")
	}
	d.claims.CommonName = v.CommonName
	p.Claims = &d.claims
	return auth.Result{Outcome: auth.Allow, Reason: mqtt.Success, Principal: p}
}

var _ auth.Authenticator = (*Service)(nil)
