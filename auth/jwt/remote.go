package jwt

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// remote has the keys of a Set. One goroutine asks for them; everybody else reads what it
// has.
type remote struct {
	set     *Set
	s       *settled
	client  *http.Client
	changed func() // called after other keys are in force

	current atomic.Pointer[fetched] // nil: nothing was had yet
	wake    chan struct{}

	asking asking

	mu      sync.Mutex // guards everything below
	waiting []job      // for the request that is asked for
	early   time.Time  // when one was last asked for ahead of time
	ended   bool
}

// asking is a request: one at a time, with what was said after the last.
type asking struct {
	mu      sync.Mutex // guards everything below; taken before that of remote
	said    string     // the last failure, which is told once
	skipped string     // the same of keys that are not good
}

// fetched is a key set, and when it was last had.
type fetched struct {
	keys []key
	sum  [sha256.Size]byte // of the document
	at   time.Time
}

func newRemote(set *Set, s *settled, changed func()) (*remote, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: set.Server}
	if len(set.CA) > 0 {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(set.CA) {
			return nil, errors.New("jwks.ca has no certificate in PEM")
		}
	}
	return &remote{set: set, s: s, changed: changed, wake: make(chan struct{}, 1), client: &http.Client{
		Timeout:       set.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: conf, DisableKeepAlives: true, DisableCompression: true, // or a small answer becomes a large one
			MaxResponseHeaderBytes: 16 << 10, ForceAttemptHTTP2: false,
		},
	}}, nil
}

// keys are those in force; nil: none were had, or not for too long (A122).
func (r *remote) keys(now time.Time) []key {
	f := r.current.Load()
	if f == nil || now.Sub(f.at) > r.set.MaxAge {
		return nil
	}
	return f.keys
}

// wait has a job judged again when the keys were asked for. It tells false where that may
// not be yet: what tokens say makes at most one request in EarlyEvery.
func (r *remote) wait(now time.Time, j job) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || len(r.waiting) >= waitingMax {
		return false
	}
	if len(r.waiting) == 0 {
		if !r.early.IsZero() && now.Sub(r.early) < EarlyEvery {
			return false
		}
		r.early = now
	}
	j.again = true
	r.waiting = append(r.waiting, j)
	select {
	case r.wake <- struct{}{}:
	default: // it is about to
	}
	return true
}

// run asks until ctx is done: at once, then each Refresh, and when it is woken. After a
// failure it asks again sooner.
func (r *remote) run(ctx context.Context, again func(job) bool) {
	defer r.release(func(j job) bool { return false }, true)
	for {
		ok := r.refresh(ctx)
		r.release(again, false)
		next := r.set.Refresh
		if !ok {
			next = min(next, RefreshMin)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-r.wake:
			timer.Stop()
		}
	}
}

// release has everybody judged who waits.
func (r *remote) release(again func(job) bool, end bool) {
	r.mu.Lock()
	waiting := r.waiting
	r.waiting, r.ended = nil, r.ended || end
	select {
	case <-r.wake: // of one that is answered by what was had just now
	default:
	}
	r.mu.Unlock()
	for _, j := range waiting {
		if !again(j) {
			j.done(busy)
		}
	}
}

// refresh asks once.
func (r *remote) refresh(ctx context.Context) bool {
	r.asking.mu.Lock()
	defer r.asking.mu.Unlock()
	data, err := r.get(ctx)
	if err == nil {
		err = survive(func() error { return r.adopt(data) })
	}
	log := r.s.Log.With(slog.String("authenticator", r.s.Name), slog.String("url", r.set.URL))
	now := r.s.Clock.Now()
	switch {
	case ctx.Err() != nil:
		return false
	case err == nil:
		r.tell(now, "")
		if r.asking.said != "" {
			log.Info("the key set can be read again")
		}
		r.asking.said = ""
		return true
	}
	what := r.follows(now)
	r.tell(now, "the key set at "+r.set.URL+" cannot be read: "+err.Error()+"; "+what)
	if err.Error() != r.asking.said {
		r.asking.said = err.Error()
		log.Warn("the key set cannot be read", slog.String("error", r.asking.said), slog.String("so", what))
	}
	return false
}

// follows is what it means for tokens that the key set cannot be had.
func (r *remote) follows(now time.Time) string {
	what := "no token is taken until it can be read"
	if f := r.current.Load(); f != nil {
		what = "the keys that are there are used until " + stamp(f.at.Add(r.set.MaxAge))
		if now.Sub(f.at) > r.set.MaxAge {
			what = "the keys that were there are too old (jwks.max_age), and no token is taken"
		}
	}
	return what
}

func (r *remote) tell(now time.Time, why string) {
	if r.s.Outage != nil {
		r.s.Outage(now, why)
	}
}

// survive makes a bug that a key set finds an error: what it is about comes from elsewhere.
func survive(do func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("BUG: a bug was caught while it was read: %v", fault)
		}
	}()
	return do()
}

// adopt puts what came in force. A set without a good key is one: nobody is let in then.
func (r *remote) adopt(data []byte) error {
	old := r.current.Load()
	next := &fetched{sum: sha256.Sum256(data), at: r.s.Clock.Now()}
	if old != nil && old.sum == next.sum {
		next.keys = old.keys
		r.current.Store(next)
		return nil
	}
	keys, skipped, err := readSet(data, r.s.Algorithms)
	if err != nil {
		return err
	}
	if keys == nil {
		keys = []key{}
	}
	next.keys = keys
	r.current.Store(next)
	r.changed()
	if all := strings.Join(skipped, "; "); all != r.asking.skipped {
		if r.asking.skipped = all; all != "" {
			r.s.Log.Warn("keys of a key set are not good, and left out", slog.String("authenticator", r.s.Name), slog.String("url", r.set.URL), slog.String("keys", all))
		}
	}
	if len(keys) == 0 {
		r.s.Log.Warn("a key set has no key for algorithms: no token is taken", slog.String("authenticator", r.s.Name), slog.String("url", r.set.URL))
	}
	names := make([]string, 0, len(keys))
	for i := range keys {
		names = append(names, shown(keys[i].id))
	}
	slices.Sort(names)
	r.s.Log.Info("key set read", slog.String("authenticator", r.s.Name), slog.String("kids", strings.Join(names, " ")))
	return nil
}

func (r *remote) get(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.set.URL, nil)
	if err != nil {
		return nil, errors.New("jwks.url is no address")
	}
	req.Header.Set("User-Agent", "redoubt")
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("it cannot be reached: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is status %d, and redirects are not followed", resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, SetBytesMax+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("it broke off after %d bytes", len(b))
	case len(b) > SetBytesMax:
		return nil, fmt.Errorf("it has more than %d bytes", SetBytesMax)
	}
	return b, nil
}
