package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/limit/top"
)

// talks is what the clients of a home have done that did anything lately. A packet adds to
// its client's row, which is the home's own; now and then the rows are put into the book of
// who does most, where somebody else may read. So a packet costs an addition, and a client
// that does nothing has no row.
type talks struct {
	room *top.Room
	rows []talk
	at   int       // of rows, while they are gone through
	next time.Time // when that begins or goes on
}

type talk struct {
	r *resident
	top.Counts
}

// How often the rows are put into the book, and how many in a turn: one takes half a
// microsecond.
const (
	talkEvery     = time.Second
	talkSeldom    = 10 * time.Second // with very many rows
	talkPerSecond = 2000
	talkStep      = 256
)

// talk is the row of r. It is valid until the next call.
func (h *Home) talk(r *resident) *talk {
	t := &h.work.talks
	if i := r.rates.talk; i != 0 {
		return &t.rows[i-1]
	}
	if len(t.rows) == 0 {
		t.next = time.Time{} // the turn that goes on knows the time
	}
	t.rows = append(t.rows, talk{r: r})
	r.rates.talk = uint32(len(t.rows)) //nolint:gosec // of sessions
	return &t.rows[len(t.rows)-1]
}

// talking is the session that has sent a packet; nil: it has ended.
func (h *Home) talking(ref Ref) *resident {
	r := h.at(ref)
	if r != nil {
		h.talk(r).Packets++
	}
	return r
}

// Heard counts a packet that the home has nothing else to do with.
func (h *Home) Heard(ref Ref) { h.talking(ref) }

// published counts a message.
func (t *talk) published(bytes int) {
	t.Messages++
	t.Bytes += uint64(bytes) //nolint:gosec // not negative
}

// talkSome puts some rows into the book, and takes out those of clients that have done
// nothing since the last time.
func (h *Home) talkSome(now time.Time) {
	t := &h.work.talks
	switch {
	case len(t.rows) == 0:
		return
	case t.next.IsZero():
		t.next = now.Add(talkEvery)
		return
	case now.Before(t.next) && t.next.Sub(now) <= talkSeldom: // otherwise the clock was set back
		return
	}
	for n := 0; n < talkStep && len(t.rows) > 0; n++ {
		if t.at >= len(t.rows) {
			t.at = 0
			if cap(t.rows) > 4*len(t.rows)+talkStep {
				t.rows = append(make([]talk, 0, len(t.rows)+talkStep/2), t.rows...)
			}
			t.next = now.Add(max(talkEvery, min(talkSeldom, time.Second*time.Duration(len(t.rows))/talkPerSecond)))
			return
		}
		if row := &t.rows[t.at]; row.Counts != (top.Counts{}) {
			h.tellTalk(now, row)
			t.at++
		} else {
			row.r.rates.forget(now)
			t.remove(t.at)
		}
	}
}

// nextTalk is when talkSome has something to do; zero: never.
func (h *Home) nextTalk() time.Time { return h.work.talks.next }

// tellTalk puts a row into the book.
func (h *Home) tellTalk(now time.Time, row *talk) {
	by := &row.r.by
	h.work.talks.room.Add(now, &top.Client{Mountpoint: by.Mountpoint, Identity: by.Identity, ClientID: row.r.by.ClientID, Username: by.Username}, by.Addr, by.Listener, &row.Counts)
	row.Counts = top.Counts{}
}

// endTalk puts what r has done into the book, whose names or place are about to change.
func (h *Home) endTalk(now time.Time, r *resident) {
	i := r.rates.talk
	if i == 0 {
		return
	}
	t := &h.work.talks
	if row := &t.rows[i-1]; row.Counts != (top.Counts{}) {
		h.tellTalk(now, row)
	}
	t.remove(int(i - 1))
}

// remove takes a row out; the last one comes in its place.
func (t *talks) remove(i int) {
	last := len(t.rows) - 1
	t.rows[i].r.rates.talk = 0
	if i != last {
		t.rows[i] = t.rows[last]
		t.rows[i].r.rates.talk = uint32(i + 1) //nolint:gosec // of sessions
	}
	t.rows[last] = talk{}
	t.rows = t.rows[:last]
	if last == 0 {
		t.at, t.next = 0, time.Time{}
		if cap(t.rows) > talkStep {
			t.rows = nil
		}
	}
}

// Refused counts a CONNECT that was refused of somebody who had proved who he is.
func (h *Home) Refused(now time.Time, by *auth.Principal, clientID string) {
	h.work.talks.room.Add(now, &top.Client{Mountpoint: by.Mountpoint, Identity: by.Identity, ClientID: clientID, Username: by.Username}, by.Addr, by.Listener, &top.Counts{Logins: 1})
}
