package verdicts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/redoubtmq/redoubt/pki/revoke"
)

// Answered is what came of one question.
type Answered struct {
	Address string
	Err     error // nil: there is an answer that counts
	Revoked bool  // it says that a certificate was revoked, which was not known
}

// Run asks what is to be asked, until ctx is done. done is told of each answer when it is
// known here. As many may run at once as questions may be under way.
func (v *Verdicts) Run(ctx context.Context, done func(Answered)) {
	for ctx.Err() == nil {
		q, at := v.take()
		if q != nil {
			if a := v.ask(ctx, q); ctx.Err() == nil {
				done(a)
			}
			continue
		}
		timer := time.NewTimer(max(at.Sub(v.now()), time.Millisecond))
		select {
		case <-ctx.Done():
		case <-v.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (v *Verdicts) ask(ctx context.Context, q *question) Answered {
	s, silent, err := v.get(ctx, q)
	v.mu.Lock()
	defer v.mu.Unlock()
	e, now := q.entry, v.now()
	e.waits = false
	a := Answered{Address: q.address}
	if err == nil {
		err = e.supersede(s)
	}
	if err != nil {
		retry := retryAt(now, e.failures+1)
		if silent {
			if len(v.down) >= downMax {
				clear(v.down)
			}
			s := silence{failures: v.down[q.address].failures + 1}
			s.until = silentUntil(now, s.failures, q.refresh)
			v.down[q.address], retry = s, s.until
		} else {
			err = fmt.Errorf("%q: %w", q.address, err)
		}
		e.fail(err, retry)
		if v.known[e.id] == e {
			v.failing[e] = true
		}
		a.Err = err
		return a
	}
	delete(v.down, q.address)
	a.Revoked = s.Standing == revoke.Revoked && (e.status == nil || e.status.Standing != revoke.Revoked)
	e.status, e.until = s, s.NextUpdate
	if e.until.IsZero() {
		e.until = now.Add(2 * q.refresh) // who may know more at any time is asked in time
	}
	e.failures, e.why, e.forged = 0, "", false
	e.due = refreshAt(now, s, q.refresh)
	delete(v.failing, e)
	return a
}

// supersede tells why an answer does not take the place of the one there is: somebody who
// stands between may repeat one of before (A138).
func (e *entry) supersede(s *revoke.Status) error {
	was := e.status
	switch {
	case was == nil:
	case s.ThisUpdate.Before(was.ThisUpdate):
		return fmt.Errorf("the answer is from %s and older than the one there is, of %s", s.ThisUpdate.UTC().Format(time.RFC3339), was.ThisUpdate.UTC().Format(time.RFC3339))
	case was.Standing == revoke.Revoked && !was.Hold && s.Standing != revoke.Revoked:
		return errors.New("the answer says that the certificate is good, and it was revoked for good")
	}
	return nil
}

// get asks. silent: there was no answer that could be judged.
func (v *Verdicts) get(ctx context.Context, q *question) (s *revoke.Status, silent bool, err error) {
	ask, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: q.serial}, q.issuer, nil)
	if err != nil {
		return nil, false, fmt.Errorf("no question can be asked: %w", err)
	}
	b, err := q.client.Post(ctx, q.address, "application/ocsp-request", ask, revoke.StatusBytesMax)
	if err != nil {
		return nil, true, err
	}
	s, err = revoke.ParseStatus(b, q.serial, q.issuer, v.now(), q.refresh)
	return s, false, err
}

// Trouble is what is wrong, in words; empty: nothing.
type Trouble struct {
	Unavailable string // responders that do not answer, or not so that it counts
	Forged      string // answers of somebody who may not give them
}

// Trouble says what is wrong now.
func (v *Verdicts) Trouble() (t Trouble) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.options.On {
		return t
	}
	unavailable, forged := 0, 0
	for e := range v.failing {
		if e.forged {
			forged++
			t.Forged = later(t.Forged, e.why)
		} else {
			unavailable++
			t.Unavailable = later(t.Unavailable, e.why)
		}
	}
	if unavailable > 1 {
		t.Unavailable = "of several certificates: " + t.Unavailable
	}
	if forged > 1 {
		t.Forged = "of several certificates: " + t.Forged
	}
	return t
}

// later chooses one of two reasons, the same each time.
func later(a, b string) string {
	if a == "" || b < a {
		return b
	}
	return a
}

// Held is how many certificates are known, and of how many it is known that they were revoked.
func (v *Verdicts) Held() (known, revoked int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.known {
		if e.status != nil && e.status.Standing == revoke.Revoked {
			revoked++
		}
	}
	return len(v.known), revoked
}
