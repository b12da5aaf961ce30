// Package builtin is the authenticator that needs nothing else: users that a Keeper
// keeps (in the broker, as records of the log), a bounded pool of goroutines that hash
// passwords, and a cache of credentials that were verified. It knows no packet, no
// connection and no log.
//
// What a check costs depends only on the form of the presented password, so that
// neither time nor load tells who exists (checklist row P4.1): a generated secret
// is one SHA-256, anything else is one argon2id, and stand-ins are hashed where a
// user is missing or has the other kind. No password costs nothing at all. While there are
// users whose hashes other programs made, the second case costs one of each such hash
// beside it, for everybody; foreign.go says more.
//
// Rules: MQTT 5.0 §3.1.3.5, §5.4.1; RFC 9106 (argon2); NIST SP 800-63B §5.1.1.
package builtin

import (
	"crypto/rand"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/cores"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Name is what configuration and auth.Principal.Method call this authenticator.
const Name = "builtin"

// Options are the limits of an Authenticator. A zero field takes its default.
type Options struct {
	// Workers hash at the same time, 19 MiB each. Default: half the processors,
	// at least 1, at most 8.
	Workers int
	// Queue is how many checks may wait for a worker; one more is told the server
	// is busy. Default 256: some seconds of work, less than the connect deadline.
	Queue int
	// QueuePerPrefix is how many of them may come from one /24 or /56, so that a
	// flood of wrong passwords from one place leaves room for others (A079).
	// Default: a quarter of Queue.
	QueuePerPrefix int
	// CacheEntries bounds the cache of verified credentials. Default 10,000, about
	// 2 MiB.
	CacheEntries int
	// CacheFor is how long a verified credential needs no new argon2id. Default
	// one hour.
	CacheFor time.Duration
	// Caught is told of a bug in a check, by the worker that it would have ended. Default:
	// nobody is.
	Caught func(fault any)
}

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = min(max(cores.Count()/2, 1), 8)
	}
	if o.Queue <= 0 {
		o.Queue = 256
	}
	if o.QueuePerPrefix <= 0 {
		o.QueuePerPrefix = max(o.Queue/4, 1)
	}
	if o.CacheEntries <= 0 {
		o.CacheEntries = 10_000
	}
	if o.CacheFor <= 0 {
		o.CacheFor = time.Hour
	}
	return o
}

// Stats counts since New.
type Stats struct {
	Argon2id  uint64 // evaluations of a check
	Foreign   uint64 // evaluations of other programs' hashes, beside those
	SHA256    uint64 // evaluations of a check
	CacheHits uint64 // checks that needed no evaluation
	Upgraded  uint64 // users who have an argon2id or SCRAM keys since a login
	NotKept   uint64 // users who should have, and the log did not take it; the next login tries again
	Busy      uint64 // checks refused because the queue was full
	Queued    int    // checks waiting or being hashed now
}

// Authenticator checks user names and passwords against a Store. It implements
// auth.Authenticator.
type Authenticator struct {
	store  *Store
	clock  clock.Clock
	cache  *cache
	queue  *queue
	noUser [2]credential // stand-ins by kind

	argon2id, foreign, sha256, hits, busy atomic.Uint64

	heavy    heavy
	caught   func(fault any)
	upgrades *upgrades
	workers  sync.WaitGroup
	once     sync.Once
}

// New starts the workers; Close ends them.
func New(store *Store, clk clock.Clock, opt Options) (*Authenticator, error) {
	return newWith(rand.Reader, store, clk, opt)
}

func newWith(random io.Reader, store *Store, clk clock.Clock, opt Options) (*Authenticator, error) {
	opt = opt.withDefaults()
	a := &Authenticator{store: store, clock: clk, queue: newQueue(opt.Queue, opt.QueuePerPrefix), caught: opt.Caught}
	var err error
	if a.cache, err = newCache(random, opt.CacheEntries, opt.CacheFor); err != nil {
		return nil, err
	}
	for k := range a.noUser {
		if a.noUser[k], err = dummy(random, kind(k)); err != nil {
			return nil, err
		}
	}
	store.OnChange(a.cache.drop)
	a.upgrades = startUpgrades(store, a.guard)
	for range opt.Workers {
		a.workers.Add(1)
		go a.work()
	}
	return a, nil
}

// Name implements auth.Authenticator.
func (a *Authenticator) Name() string { return Name }

// Stats is what was counted so far.
func (a *Authenticator) Stats() Stats {
	return Stats{
		Argon2id: a.argon2id.Load(), Foreign: a.foreign.Load(), SHA256: a.sha256.Load(), CacheHits: a.hits.Load(),
		Upgraded: a.upgrades.kept.Load(), NotKept: a.upgrades.lost.Load(), Busy: a.busy.Load(), Queued: a.queue.len(),
	}
}

// Close refuses what waits and what comes, and returns once every worker has
// ended. It must not be called from a done function.
func (a *Authenticator) Close() {
	a.once.Do(func() {
		a.queue.close()
		a.workers.Wait()
		a.upgrades.close()
	})
	a.workers.Wait()
}

// Authenticate implements auth.Authenticator. Without a password, with a
// generated secret, with a verified credential and when the queue is full, done
// is called before it returns; else by a worker, or by whoever takes its place in a
// full queue. A user who does not exist is
// denied and not ignored: the refusal is the same as for a wrong password.
func (a *Authenticator) Authenticate(req *auth.Request, done func(auth.Result)) {
	if !req.HasPassword || req.Password.Empty() {
		done(denied("no password was given"))
		return
	}
	if kindOf(req.Password.Reveal()) == generated {
		done(a.check(req, generated))
		return
	}
	r := a.userOf(req)
	if a.cache.has(a.clock.Now(), r, req.Username, req.Password) {
		a.hits.Add(1)
		res := allowed(req, r)
		res.Cached = true
		done(res)
		return
	}
	a.enqueue(job{req, done})
}

// enqueue has a worker check, or refuses.
func (a *Authenticator) enqueue(j job) {
	refusal, out := a.queue.push(j)
	if refusal != "" {
		a.tooBusy(j.done, refusal)
	}
	if out.done != nil {
		a.tooBusy(out.done, queueFull)
	}
}

// Spend implements auth.Spender: the check of a user who does not exist.
func (a *Authenticator) Spend(req *auth.Request, done func(*auth.Result)) {
	if !req.HasPassword || req.Password.Empty() {
		done(nil)
		return
	}
	nobody := *req
	nobody.Username, nobody.HasUsername = "", false
	spent := func(r auth.Result) {
		if r.Outcome == auth.Unavailable {
			done(&r)
			return
		}
		done(nil)
	}
	if kindOf(req.Password.Reveal()) == generated {
		spent(a.check(&nobody, generated))
		return
	}
	a.enqueue(job{&nobody, spent})
}

// tooBusy refuses a check that has no place in the queue.
func (a *Authenticator) tooBusy(done func(auth.Result), refusal string) {
	a.busy.Add(1)
	done(auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerBusy, Detail: refusal})
}

// work is one worker: it hashes until the queue is closed and empty.
func (a *Authenticator) work() {
	defer a.workers.Done()
	cores.Behind(0)
	for {
		j, open, ok := a.queue.pop()
		if !ok {
			return
		}
		res := auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerUnavailable, Detail: shuttingDown}
		if open {
			a.guard(func() { res = a.check(j.req, chosen) }, func() { res.Detail = "a bug was caught in the check" })
		}
		a.queue.finished(j)
		a.guard(func() { j.done(res) }, func() {})
	}
}

// guard runs do, and undo after a bug in it: one check must not end all of them, and the
// process.
func (a *Authenticator) guard(do, undo func()) {
	defer func() {
		if p := recover(); p != nil {
			undo()
			if a.caught != nil {
				a.caught(p)
			}
		}
	}()
	do()
}

// userOf answers nil for a user that does not exist.
func (a *Authenticator) userOf(req *auth.Request) *record {
	if !req.HasUsername {
		return nil
	}
	return a.store.lookup(req.Username)
}

// check evaluates exactly one hash of kind k, whoever the user is, and, with one that a
// person chose, what spendForeign does.
func (a *Authenticator) check(req *auth.Request, k kind) auth.Result {
	r := a.userOf(req)
	cred := &a.noUser[k]
	if r != nil && (r.cred.kind == k || r.cred.kind == foreign && k == chosen) {
		cred = &r.cred
	}
	sum, fits := a.evaluate(cred, req.Password.Reveal())
	if k == chosen {
		fits = a.spendForeign(r, req.Password.Reveal()) || fits
	}
	res := a.answer(req, r, k, fits)
	if res.Outcome == auth.Allow && k == chosen {
		a.upgrades.offer(r, sum, req.Password)
	}
	return res
}

// answer judges what check found out about r, the user as it was before the hash.
func (a *Authenticator) answer(req *auth.Request, r *record, k kind, fits bool) auth.Result {
	switch {
	case r == nil && !req.HasUsername:
		return denied("a password was given without a user name")
	case r == nil:
		return denied("there is no such user")
	case r.cred.kind == foreign && k == generated:
		return denied("wrong password: a generated secret was presented, the user has an imported password")
	case r.cred.kind != k && k == generated:
		return denied("wrong password: a generated secret was presented, the user has a chosen password")
	case r.cred.kind == generated && k == chosen:
		return denied("wrong password: the user has a generated secret, something else was presented")
	case !fits:
		return denied("wrong password")
	case !a.store.lookup(r.name).sameAs(r):
		return denied("the user was changed while the password was checked")
	}
	if k == chosen {
		a.cache.add(a.clock.Now(), r, req.Password)
	}
	return allowed(req, r)
}

// evaluate is the one place that spends a hash on a check, so that the counters
// count what was really spent.
func (a *Authenticator) evaluate(cred *credential, password []byte) (sum [sumBytes]byte, fits bool) {
	if cred.kind == generated {
		a.sha256.Add(1)
	} else {
		a.argon2id.Add(1)
	}
	return cred.try(password)
}

func allowed(req *auth.Request, r *record) auth.Result {
	return auth.Result{Outcome: auth.Allow, Reason: mqtt.Success, Principal: auth.Principal{
		Identity: r.name, // which is kept anyhow, once for all clients of the user
		Username: r.name,
		ClientID: req.ClientID,
		Listener: req.Listener,
		Method:   Name,
		Proof:    r.cred.proof(),
		Addr:     req.Addr,
	}}
}

// denied tells every client the same.
func denied(detail string) auth.Result {
	return auth.Result{Outcome: auth.Deny, Reason: mqtt.BadUserNameOrPassword, Detail: detail}
}

var _ auth.Spender = (*Authenticator)(nil)
