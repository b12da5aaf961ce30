package broker

import (
	"cmp"
	"slices"
	"sort"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// Waiters is what sessions wait for, collected one by one; the zero one is of none.
type Waiters struct {
	cursors []store.Seq // of each session
	wants   []lagging
}

// Expect makes room for so many sessions.
func (w *Waiters) Expect(sessions int) {
	w.cursors, w.wants = slices.Grow(w.cursors, sessions), slices.Grow(w.wants, sessions)
}

// Add takes another session, of which it keeps nothing.
func (w *Waiters) Add(s *view.Session) {
	for i := range s.Subs {
		if sub := &s.Subs[i]; sub.QoS > 0 {
			w.wants = append(w.wants, lagging{sub.ID, max(sub.Start, s.Out.Cursor), len(w.cursors)})
		}
	}
	w.cursors = append(w.cursors, s.Out.Cursor)
}

// Lags answers what waits for each, in the order in which they came, once. The postings of one
// filter come in order, a part of the log at a time, and the filters of a part in order, too: so
// whoever wants a filter stands in a list in that order, and is found a step behind whoever
// wanted the one before. A broad message is looked up once for all.
func (w *Waiters) Lags(postings func(fn func(id fact.FilterID, p view.Posting) error) error) ([]Lag, error) {
	slices.SortFunc(w.wants, func(a, b lagging) int {
		if a.id != b.id {
			return cmp.Compare(a.id, b.id)
		}
		return cmp.Compare(a.after, b.after)
	})
	c := lagCount{wants: w.wants}
	c.sums = make([]Lag, len(c.wants))
	err := postings(func(id fact.FilterID, p view.Posting) error {
		if n := len(c.run); n > 0 && (id != c.id || p.Seq <= c.run[n-1].Seq) {
			c.settle()
		}
		c.id, c.run = id, append(c.run, p)
		return nil
	})
	c.settle()
	slices.Sort(c.broad)
	lags := make([]Lag, len(w.cursors))
	for i := range c.sums {
		lags[c.wants[i].session].add(&c.sums[i])
	}
	for k, after := range w.cursors {
		// Who wants a broad message is not known before it is read.
		if i := sort.Search(len(c.broad), func(i int) bool { return c.broad[i] > after }); i < len(c.broad) {
			lags[k].cover(c.broad[i], c.broad[len(c.broad)-1])
		}
	}
	return lags, err
}

// lagging is a session that wants what is later of a filter.
type lagging struct {
	id      fact.FilterID
	after   store.Seq
	session int
}

// lagCount is one Lags.
type lagCount struct {
	wants []lagging // by filter, and then by after
	at    int       // of wants: the first that is not before what was looked for last
	sums  []Lag     // of each of wants, which come in this order: a session's would be anywhere

	id    fact.FilterID  // of run
	run   []view.Posting // of one filter, in order
	bytes []int64        // of run up to and with each
	broad []store.Seq
}

// who answers those that want a filter, and their sums.
func (c *lagCount) who(id fact.FilterID) ([]lagging, []Lag) {
	if c.at > 0 && c.wants[c.at-1].id >= id { // another part has begun
		c.at = 0
	}
	for step := 1; c.at < len(c.wants) && c.wants[c.at].id < id; {
		// As far as nothing is passed over, faster and faster.
		switch next := min(c.at+step, len(c.wants)); {
		case c.wants[next-1].id < id:
			c.at, step = next, step*2
		default:
			step = 1
		}
	}
	end := c.at
	for end < len(c.wants) && c.wants[end].id == id {
		end++
	}
	return c.wants[c.at:end], c.sums[c.at:end]
}

// settle counts a run for whoever wants it.
func (c *lagCount) settle() {
	run := c.run
	c.run = run[:0]
	if len(run) == 0 {
		return
	}
	if c.id == 0 {
		for i := range run {
			c.broad = append(c.broad, run[i].Seq)
		}
		return
	}
	list, sums := c.who(c.id)
	last := run[len(run)-1].Seq
	if len(list) == 0 || list[0].after >= last {
		return
	}
	c.bytes = c.bytes[:0]
	sum := int64(0)
	for i := range run {
		sum += int64(run[i].Bytes)
		c.bytes = append(c.bytes, sum)
	}
	for k, w := range list {
		if w.after >= last { // as do all that follow
			break
		}
		i := sort.Search(len(run), func(i int) bool { return run[i].Seq > w.after })
		l := &sums[k]
		l.cover(run[i].Seq, last)
		l.Messages += len(run) - i
		if l.Bytes += sum; i > 0 {
			l.Bytes -= c.bytes[i-1]
		}
	}
}

// add is for what another subscription of the session waits for.
func (l *Lag) add(o *Lag) {
	if o.First != 0 {
		l.cover(o.First, o.Last)
		l.Messages += o.Messages
		l.Bytes += o.Bytes
	}
}

func (l *Lag) cover(first, last store.Seq) {
	if l.First == 0 || first < l.First {
		l.First = first
	}
	l.Last = max(l.Last, last)
}
