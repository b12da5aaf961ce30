// Package jwt is the authenticator that knows clients by a signed token (JSON Web Token) in
// place of a password. It is the only importer of go-jose, which verifies signatures and
// reads keys; what a token has to be before that, and what it has to say, is judged here.
//
// Who a client is comes from the signed token and from nothing else. What verifies a token
// is chosen by the configuration: the algorithm of a token selects among keys of the
// matching kind, and no header of it brings a key or says where one is (jwk, jku, x5u, x5c).
// What looks like a token and is bad is refused, and never passed on to the next
// authenticator; what looks like none is ignored.
//
// Its goroutines verify signatures (Options.Workers of them), and one asks for a key set.
//
// Rules: RFC 7515, 7517, 7518, 7519, 8725; checklist row P4.1; attacks A121, A122.
package jwt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Method is the Authentication Method of MQTT 5.0 with which a client proves itself by a
// token in Authentication Data, and renews it while it is connected.
const Method = "JWT"

// Authenticator implements auth.Mechanism. It is safe for concurrent use.
type Authenticator struct {
	s      *settled
	cache  *cache
	remote *remote // nil: the keys are static
	jobs   chan job

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.RWMutex // guards closed: nothing is sent to jobs afterwards
	closed bool
}

// job is a token that waits for a worker.
type job struct {
	token []byte
	hash  tokenHash
	req   *auth.Request
	done  func(auth.Result)
	again bool // newer keys were asked for already
}

// New starts the workers and the goroutine that asks for a key set; Close ends them.
func New(o Options) (*Authenticator, error) {
	s, err := o.settle(true)
	if err != nil {
		return nil, err
	}
	if s.Clock == nil {
		s.Clock = clock.System{}
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Queue <= 0 {
		s.Queue = queueDefault
	}
	a := &Authenticator{s: s, cache: newCache(s.CacheFor, cacheEntriesMax), jobs: make(chan job, s.Queue)}
	a.ctx, a.stop = context.WithCancel(context.Background())
	if s.Keys.Set != nil {
		if a.remote, err = newRemote(s.Keys.Set, s, a.cache.drop); err != nil {
			return nil, err
		}
		a.running.Add(1)
		go func() {
			defer a.running.Done()
			a.remote.run(a.ctx, a.push)
		}()
	}
	for range max(s.Workers, 1) {
		a.running.Add(1)
		go a.work()
	}
	return a, nil
}

// Name implements auth.Authenticator.
func (a *Authenticator) Name() string { return a.s.Name }

// Method implements auth.Mechanism.
func (a *Authenticator) Method() string { return Method }

// Close refuses what waits and what comes, and returns once all goroutines have ended. It
// must not be called from a done function.
func (a *Authenticator) Close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.jobs)
	}
	a.mu.Unlock()
	a.stop()
	a.running.Wait()
}

// Authenticate implements auth.Authenticator. A token that was verified a moment ago, and
// what is refused by its form, is answered before it returns; else a worker does.
func (a *Authenticator) Authenticate(req *auth.Request, done func(auth.Result)) {
	token := req.Password.Reveal()
	if a.s.FromUsername {
		token = []byte(req.Username)
	}
	if !looksLikeToken(token) {
		done(auth.Result{Outcome: auth.Ignore, Detail: "what it has sent as the " + a.from() + " is no token"})
		return
	}
	a.take(token, req, done)
}

// from is where a token is looked for.
func (a *Authenticator) from() string {
	if a.s.FromUsername {
		return "user name"
	}
	return "password"
}

// Begin implements auth.Mechanism.
func (a *Authenticator) Begin(req *auth.Request) auth.Exchange { return &exchange{a: a, req: req} }

// exchange takes one token and is over.
type exchange struct {
	a    *Authenticator
	req  *auth.Request
	over bool
}

// Step implements auth.Exchange.
func (e *exchange) Step(data []byte, done func(auth.Result)) {
	switch {
	case e.over:
		done(deny(bad("came after the exchange was over")))
	case !looksLikeToken(data):
		done(deny(&refusal{reason: mqtt.BadUserNameOrPassword, what: "what came in Authentication Data is no token"}))
	default:
		e.over = true
		e.a.take(bytes.Clone(data), e.req, done) // it may be of a buffer that is used again
	}
}

func (a *Authenticator) take(token []byte, req *auth.Request, done func(auth.Result)) {
	if len(token) > a.s.TokenBytes {
		done(deny(bad("has %d bytes; token_bytes is %d", len(token), a.s.TokenBytes)))
		return
	}
	j := job{token: token, hash: sha256.Sum256(token), req: req, done: done}
	now := a.s.Clock.Now()
	if v := a.cache.find(now, j.hash); v != nil && (a.remote == nil || a.remote.keys(now) != nil) {
		r := a.answer(now, v, req)
		r.Cached = true
		done(r)
		return
	}
	if !a.push(j) {
		done(busy)
	}
}

// The answers to who cannot be judged now.
var (
	busy    = auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerBusy, Detail: "the token was not judged: too many wait, or the server is shutting down"}
	keyless = auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerUnavailable, Detail: "the token was not judged: the key set could not be read for longer than jwks.max_age, or not at all yet"}
)

// push hands a job to a worker. It never waits.
func (a *Authenticator) push(j job) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return false
	}
	select {
	case a.jobs <- j:
		return true
	default:
		return false
	}
}

func (a *Authenticator) work() {
	defer a.running.Done()
	for j := range a.jobs {
		if a.ctx.Err() != nil {
			j.done(busy)
			continue
		}
		a.judge(j)
	}
}

func (a *Authenticator) judge(j job) {
	now, epoch := a.s.Clock.Now(), a.cache.now()
	keys := a.s.static
	if a.remote != nil {
		if keys = a.remote.keys(now); keys == nil {
			if j.again || !a.remote.wait(now, j) {
				j.done(keyless)
			}
			return
		}
	}
	v, r := a.guarded(now, j.token, keys)
	switch {
	case r == nil:
		a.cache.put(now, epoch, j.hash, v)
		j.done(a.answer(now, v, j.req))
	case r.retry && !j.again && a.remote != nil && a.remote.wait(now, j):
	default:
		j.done(deny(r))
	}
}

// guarded is verify, of which a bug ends neither the worker nor the process: what it looks at
// comes from people who have proved nothing.
func (a *Authenticator) guarded(now time.Time, token []byte, keys []key) (v *verified, r *refusal) {
	defer func() {
		if p := recover(); p != nil {
			a.s.Log.Error("a bug was caught while a token was verified", slog.String("authenticator", a.s.Name), slog.Any("panic", p))
			v, r = nil, bad("was not judged: a bug was caught")
		}
	}()
	return a.s.verify(now, token, keys)
}

// verify reads a token and verifies it with the keys that may.
func (s *settled) verify(now time.Time, token []byte, keys []key) (*verified, *refusal) {
	h, r := split(token, s.algs)
	if r != nil {
		return nil, r
	}
	var candidates []*key
	for i := range keys {
		if k := &keys[i]; k.may(now, h.alg, h.kid) {
			candidates = append(candidates, k)
		}
	}
	switch {
	case len(candidates) == 0 && h.kid != "":
		r = bad("names a key (kid) that is not there, or not for its algorithm %s", h.alg)
		r.retry = true
		return nil, r
	case len(candidates) == 0:
		r = bad("is by %s, for which there is no key", h.alg)
		r.retry = true
		return nil, r
	case len(candidates) > triesMax:
		return nil, bad("names no key (kid), and there are %d for %s; at most %d are tried", len(candidates), h.alg, triesMax)
	}
	jws, err := jose.ParseSignedCompact(string(token), s.algs)
	if err != nil {
		return nil, bad("cannot be read")
	}
	for _, k := range candidates {
		if payload, err := jws.Verify(k.value); err == nil {
			return s.read(payload)
		} else if !errors.Is(err, jose.ErrCryptoFailure) {
			return nil, bad("cannot be verified")
		}
	}
	return nil, bad("has a signature that is not good")
}

// answer lets a verified token in, or not.
func (a *Authenticator) answer(now time.Time, v *verified, req *auth.Request) auth.Result {
	if r := a.s.judge(now, v, req); r != nil {
		return deny(r)
	}
	return auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: v.identity, Username: v.identity, Claims: v.claims}}
}

func deny(r *refusal) auth.Result {
	return auth.Result{Outcome: auth.Deny, Reason: r.reason, Detail: r.what}
}
