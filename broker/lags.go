package broker

import (
	"cmp"
	"slices"
	"sort"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// Lags answers what waits for each session, from all the postings there are. Those of one
// filter come in order, a part of the log at a time: whoever wants the filter is looked up
// in it once, and a broad message once for all.
func Lags(sessions []*view.Session, postings func(fn func(id fact.FilterID, p view.Posting) error) error) (map[store.SID]*Lag, error) {
	c := lagCount{wants: make(map[fact.FilterID][]lagging), lags: make(map[store.SID]*Lag)}
	for _, s := range sessions {
		for i := range s.Subs {
			if sub := &s.Subs[i]; sub.QoS > 0 {
				c.wants[sub.ID] = append(c.wants[sub.ID], lagging{s.SID, max(sub.Start, s.Out.Cursor)})
			}
		}
	}
	for _, list := range c.wants {
		slices.SortFunc(list, func(a, b lagging) int { return cmp.Compare(a.after, b.after) })
	}
	err := postings(func(id fact.FilterID, p view.Posting) error {
		if n := len(c.run); n > 0 && (id != c.id || p.Seq <= c.run[n-1].Seq) {
			c.settle()
		}
		c.id, c.run = id, append(c.run, p)
		return nil
	})
	c.settle()
	slices.Sort(c.broad)
	for _, s := range sessions {
		// Who wants a broad message is not known before it is read.
		if i := sort.Search(len(c.broad), func(i int) bool { return c.broad[i] > s.Out.Cursor }); i < len(c.broad) {
			c.lag(s.SID).cover(c.broad[i], c.broad[len(c.broad)-1])
		}
	}
	return c.lags, err
}

// lagging is a session that wants what is later.
type lagging struct {
	sid   store.SID
	after store.Seq
}

// lagCount is one Lags.
type lagCount struct {
	wants map[fact.FilterID][]lagging // by after
	lags  map[store.SID]*Lag

	id    fact.FilterID  // of run
	run   []view.Posting // of one filter, in order
	bytes []int64        // of run up to and with each
	broad []store.Seq
}

// settle counts a run for whoever wants it.
func (c *lagCount) settle() {
	run := c.run
	c.run = run[:0]
	switch list := c.wants[c.id]; {
	case len(run) == 0:
	case c.id == 0:
		for i := range run {
			c.broad = append(c.broad, run[i].Seq)
		}
	case len(list) > 0:
		c.bytes = c.bytes[:0]
		sum := int64(0)
		for i := range run {
			sum += int64(run[i].Bytes)
			c.bytes = append(c.bytes, sum)
		}
		last := run[len(run)-1].Seq
		for _, w := range list {
			if w.after >= last { // as do all that follow
				break
			}
			i := sort.Search(len(run), func(i int) bool { return run[i].Seq > w.after })
			l := c.lag(w.sid)
			l.cover(run[i].Seq, last)
			l.Messages += len(run) - i
			if l.Bytes += sum; i > 0 {
				l.Bytes -= c.bytes[i-1]
			}
		}
	}
}

func (c *lagCount) lag(sid store.SID) *Lag {
	l := c.lags[sid]
	if l == nil {
		l = &Lag{First: unknown}
		c.lags[sid] = l
	}
	return l
}

func (l *Lag) cover(first, last store.Seq) { l.First, l.Last = min(l.First, first), max(l.Last, last) }
