package points

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/pki/fetch"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// Fetched is what came of one request.
type Fetched struct {
	Address string
	List    *revoke.List // nil: nothing that counts, and Err says why
	Err     error
	New     bool // it is another list than before
	Differs bool // and it names other certificates
}

// Run fetches what is due, until ctx is done. done is told of each request when what came
// is in force. Several may run at once: a server that does not answer holds up one of them.
func (l *Lists) Run(ctx context.Context, done func(Fetched)) {
	for ctx.Err() == nil {
		e, client, at := l.take()
		if e != nil {
			l.stir() // there may be more for another
			f := l.fetch(ctx, client, e)
			if ctx.Err() == nil {
				done(f)
			}
			continue
		}
		if !l.wait(ctx, at) {
			return
		}
	}
}

// wait returns when something may be due; false: ctx is done.
func (l *Lists) wait(ctx context.Context, at time.Time) bool {
	wait := time.Hour // what nobody asks for is forgotten in time
	if !at.IsZero() {
		wait = max(min(wait, at.Sub(l.now())), time.Millisecond)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-l.wake:
	case <-timer.C:
	}
	return true
}

// errForged is what comes from an address and is no list of the issuer's.
var errForged = errors.New("what comes is not the issuer's list")

func (l *Lists) fetch(ctx context.Context, client *fetch.Client, e *entry) Fetched {
	f := Fetched{Address: e.address}
	list, err := l.get(ctx, client, e)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	e.busy = false
	if err != nil {
		e.failures++
		e.why, e.forged = err.Error(), errors.Is(err, errForged)
		e.due = retryAt(now, e.failures, l.options.Refresh)
		f.Err = err
		return f
	}
	f.New = e.list == nil || e.list.Before(list)
	f.Differs = e.list == nil || !e.list.SameRevoked(list)
	if f.New {
		e.list = list
	}
	f.List = e.list
	e.failures, e.why, e.forged = 0, "", false
	e.due = refreshAt(now, e.list, l.options.Refresh)
	return f
}

// get fetches a list, judges it, and keeps it on disk before it counts: what a start finds is
// never older than what was in force.
func (l *Lists) get(ctx context.Context, client *fetch.Client, e *entry) (*revoke.List, error) {
	b, err := client.Get(ctx, e.address, revoke.BytesMax)
	if err != nil {
		return nil, err
	}
	list, err := l.judge(e, b)
	if err != nil || e.list != nil && !e.list.Before(list) {
		return list, err
	}
	if err := l.room(e, int64(len(b))); err != nil {
		return nil, err
	}
	return list, l.save(e, b)
}

// room counts a list that takes the place of the one before.
func (l *Lists) room(e *entry, bytes int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.points[e.point] != e:
		return fmt.Errorf("%q: nobody wants the list any more", e.address)
	case l.bytes-e.bytes+bytes > bytesMax:
		return fmt.Errorf("%q: the lists of the listener would take more than %d MiB", e.address, bytesMax>>20)
	}
	l.bytes += bytes - e.bytes
	e.bytes = bytes
	return nil
}

// judge reads what came and refuses what may not count. e.list is changed by nobody else
// while e is busy.
func (l *Lists) judge(e *entry, b []byte) (*revoke.List, error) {
	<-l.parse
	defer func() { l.parse <- struct{}{} }()
	list, err := revoke.ParseList(b, fmt.Sprintf("%q", e.address))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errForged, err)
	}
	if err := list.Of(e.issuer); err != nil {
		return nil, fmt.Errorf("%q: %w: %w", e.address, errForged, err)
	}
	switch {
	case list.ThisUpdate.After(l.now().Add(revoke.ClockSkew)):
		return nil, fmt.Errorf("%q: the list is from %s, which is in the future: check the clock", e.address, list.ThisUpdate.UTC().Format(time.RFC3339))
	case e.list != nil && list.Before(e.list):
		return nil, fmt.Errorf("%q: the list is from %s and older than the one there is, of %s", e.address, list.ThisUpdate.UTC().Format(time.RFC3339), e.list.ThisUpdate.UTC().Format(time.RFC3339))
	}
	return list, nil
}

// Trouble is what is wrong with the lists of a listener, in words; empty: nothing.
type Trouble struct {
	Unreachable string // lists that cannot be fetched
	Forged      string // what comes in place of a list
	Stale       string // lists that should have been followed by others
}

// Trouble says what is wrong now. An address that fails is none while the issuer's list came
// from another.
func (l *Lists) Trouble() (t Trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.options.On {
		return t
	}
	now := l.now()
	var unreachable, forged, stale []string
	for _, e := range l.points {
		if e.why != "" && e.forged {
			forged = append(forged, e.why)
		} else if e.why != "" && !l.elsewhere(e, now) {
			unreachable = append(unreachable, e.why)
		}
		if e.list != nil && now.After(e.list.NextUpdate) && !l.elsewhere(e, now) {
			stale = append(stale, fmt.Sprintf("%q (%s) should have been followed by another on %s", e.address, e.list.Issuer, e.list.NextUpdate.UTC().Format(time.RFC3339)))
		}
	}
	if l.crowded.address != "" && now.Sub(l.crowded.at) < crowdedFor {
		unreachable = append(unreachable, fmt.Sprintf("%q: there are more addresses than %d of a CA, or %d of a listener", l.crowded.address, perIssuer, perListener))
	}
	return Trouble{few(unreachable), few(forged), few(stale)}
}

// elsewhere tells whether another address of the issuer's has a list that counts.
func (l *Lists) elsewhere(e *entry, now time.Time) bool {
	for _, o := range l.points {
		if o != e && o.point.issuer == e.point.issuer && o.why == "" && o.list != nil && !now.After(o.list.NextUpdate) {
			return true
		}
	}
	return false
}

// few is a list for a line.
func few(list []string) string {
	slices.Sort(list)
	if len(list) > 3 {
		list = append(list[:3:3], fmt.Sprintf("and %d more", len(list)-3))
	}
	return strings.Join(list, "; ")
}

// Held is how many addresses have a list, and how many are known.
func (l *Lists) Held() (lists, addresses int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.points {
		if e.list != nil {
			lists++
		}
	}
	return lists, len(l.points)
}
