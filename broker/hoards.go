package broker

import (
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
)

// Sessions of one identity, each within its own limits, can have so much waiting together
// that the store has no room for anybody else (A067). Where that is scarce they have
// limits.identity_share of it: each of them an equal part, and the oldest goes. What several of them wait
// for counts once, as it is stored once.

// Hoarder is an identity at its mountpoint.
type Hoarder struct{ Mountpoint, Identity string }

func hoarderOf(r *resident) Hoarder { return Hoarder{r.by.Mountpoint, r.by.Identity} }

// Hoards are how many bytes may wait for each session of an identity whose sessions have
// too much together.
type Hoards map[Hoarder]int64

// claimed is what waits for the sessions of one identity.
type claimed struct {
	bytes    int64 // what several wait for counts for each
	sessions int
	wants    *Wants
}

// FindHoards looks for identities whose sessions have more than most bytes waiting below
// below. It waits for the disk and for the homes.
func FindHoards(each Each, ix Index, below store.Seq, most int64) (Hoards, error) {
	var mu sync.Mutex // guards all
	all := make(map[Hoarder]*claimed)
	each(func(_ time.Time, h *Home) {
		mine := h.claims(below)
		mu.Lock()
		defer mu.Unlock()
		for who, c := range mine {
			sum := all[who]
			if sum == nil {
				sum = &claimed{}
				all[who] = sum
			}
			sum.bytes += c.bytes
			sum.sessions += c.sessions
		}
	})
	for who, c := range all {
		if c.bytes <= most {
			delete(all, who)
			continue
		}
		c.wants = NewWants()
	}
	if len(all) == 0 {
		return nil, nil
	}
	each(func(_ time.Time, h *Home) {
		mine := h.collect(below, all) // a home does not wait while another looks through its sessions
		mu.Lock()
		defer mu.Unlock()
		for who, w := range mine {
			all[who].wants.Add(w)
		}
	})
	hoards := make(Hoards)
	for who, c := range all {
		sum, err := c.wants.bytes(ix, below)
		if err != nil {
			return nil, err
		}
		if sum > most {
			hoards[who] = max(1, most/int64(c.sessions))
		}
	}
	return hoards, nil
}

// claims adds up what waits for the sessions of this home, by identity.
func (h *Home) claims(below store.Seq) map[Hoarder]claimed {
	sums := make(map[Hoarder]claimed)
	for _, r := range h.slots {
		if r == nil || r.log == nil || r.log.lag.first == 0 || r.log.lag.first >= below {
			continue
		}
		c := sums[hoarderOf(r)]
		c.bytes += r.log.lag.bytes
		c.sessions++
		sums[hoarderOf(r)] = c
	}
	return sums
}

// collect is what the sessions of some identities want that are at this home.
func (h *Home) collect(below store.Seq, of map[Hoarder]*claimed) map[Hoarder]*Wants {
	all := make(map[Hoarder]*Wants)
	for _, r := range h.slots {
		if r == nil || r.log == nil || r.log.lag.first == 0 || r.log.lag.first >= below {
			continue
		}
		who := hoarderOf(r)
		if of[who] == nil {
			continue
		}
		if all[who] == nil {
			all[who] = NewWants()
		}
		all[who].lags(r.log)
	}
	return all
}

// lags adds what a session wants that is behind.
func (w *Wants) lags(d *durable) {
	w.After = min(w.After, d.pos)
	for i := range d.subs {
		if s := &d.subs[i]; s.id != 0 && s.start != unknown {
			w.note(s.id, max(d.pos, s.start))
		}
	}
}

// bytes is how much that is which filters find, each message once.
func (w *Wants) bytes(ix Index, below store.Seq) (sum int64, err error) {
	q := view.Query{After: w.After, Before: below}
	for id, after := range w.Filters {
		q.Filters = append(q.Filters, view.Interest{ID: id, Start: after})
	}
	_, err = walk(ix, q, func(p *view.Posting) bool {
		sum += int64(p.Bytes)
		return true
	})
	return sum, err
}
