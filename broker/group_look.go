package broker

import (
	"context"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// A look at a line finds all that waits in it, and chooses a portion.

// grab is a portion of a line, asked for and then read.
type grab struct {
	id          fact.FilterID
	room        int // messages
	messagesMax int // of all that waits: what is older is dropped
	bytesMax    int64
	now         int64     // Unix milliseconds
	next        []awaited // of the portion before; nil: look for it

	looked  bool // everything: what is found is all there is
	ended   bool // the log knows no such group
	waits   owed // all of it
	upTo    store.Seq
	dropped int                  // over the limits
	floors  map[source]store.Seq // what is before is dropped, or taken
	empty   []source             // that nothing is left of
	young   bool                 // a lost member may still be given something
	parts   bool                 // some of it was given back
	list    []awaited
	fold    []awaited                 // of small parts, that the group takes itself
	frames  map[store.Seq]*mqtt.Frame // of list and fold; one that is not there is lost
	err     error
}

const (
	// grabMax is the most that is handed out in one go, in messages and bytes.
	grabMax      = 64
	grabBytesMax = 256 << 10
	// sourceGrace is how long what a lost member may still be given is looked for,
	// milliseconds: whoever gave it had not heard.
	sourceGrace = 10_000
	// stuckAgain is how soon what nobody may have who has room is looked at again: somebody
	// else may have come, or the rules may have changed.
	stuckAgain = time.Second
	// takenMost is how many takes beyond one that is stuck the log remembers of a source,
	// about: the view has no more than twice as many. Then what is stuck goes to the end.
	takenMost = 2048
)

// read fetches the portion; it may wait for the disk.
func (g *grab) read(ix Index) {
	all := g.next
	if all == nil {
		if all, g.err = g.look(ix); g.err != nil {
			return
		}
	}
	bytes := int64(0)
	for len(all) > 0 && len(g.list) < g.room && (len(g.list) == 0 || bytes+int64(all[0].bytes) <= grabBytesMax) {
		bytes += int64(all[0].bytes)
		g.list = append(g.list, all[0])
		all = all[1:]
	}
	g.next = all[:min(len(all), planMax)]
	if !g.looked {
		g.next = all
	} else if g.fold = append(g.fold, small(all)...); len(g.fold) > 0 {
		g.next = nil // it is looked at again when that is done
	}
	seqs := make([]store.Seq, 0, len(g.list)+len(g.fold))
	for _, list := range [...][]awaited{g.list, g.fold} {
		for i := range list {
			seqs = append(seqs, list[i].seq)
		}
	}
	slices.Sort(seqs)
	g.frames = make(map[store.Seq]*mqtt.Frame, len(seqs))
	_, g.err = ix.Read(context.Background(), slices.Compact(seqs), func(seq store.Seq, rec *store.Record, m *fact.Message) error {
		g.frames[seq] = frameOf(rec, m)
		return nil
	})
}

// look finds all that waits, drops the oldest over the limits, and notes what parts have
// nothing left.
func (g *grab) look(ix Index) (all []awaited, err error) {
	g.looked, g.upTo = true, unknown
	group, ok := ix.Group(g.id)
	if g.ended = !ok; g.ended {
		return nil, nil
	}
	var list []view.Posting
	for i := range group.Sources {
		s := &group.Sources[i]
		from, n := source{s.ID, s.Part}, len(all)
		var upTo store.Seq
		list, upTo, err = ix.Pending(&view.Query{Filters: []view.Interest{{ID: s.ID, Start: s.Start()}}, After: s.Start()}, list[:0])
		if err != nil {
			return nil, err
		}
		g.upTo = min(g.upTo, upTo)
		for _, p := range list {
			if s.Wants(p.Seq) {
				all = append(all, awaited{p.Seq, p.Bytes, from})
				g.waits.bytes += int64(p.Bytes)
			}
		}
		waits := len(all) > n
		if len(s.Taken) > takenMost {
			all = g.unstick(from, s.Taken[len(s.Taken)-1], all, n)
		}
		old := s.Until != unknown || g.now-s.At >= sourceGrace
		g.young = g.young || !old
		g.parts = g.parts || waits && s.Part != 0
		if !waits && s.Part != 0 && upTo >= min(s.Until, max(s.Part, s.After)) && old {
			g.empty = append(g.empty, from)
		}
	}
	slices.SortStableFunc(all, func(a, b awaited) int {
		switch {
		case a.seq < b.seq:
			return -1
		case a.seq > b.seq:
			return 1
		}
		return 0
	})
	for len(all) > 1 && (len(all) > g.messagesMax || g.waits.bytes > g.bytesMax) {
		g.floor(all[0].from, all[0].seq+1)
		g.waits.bytes -= int64(all[0].bytes)
		all = all[1:]
		g.dropped++
	}
	if g.waits.messages = len(all); len(all) > 0 {
		g.waits.first = all[0].seq
	}
	return all, nil
}

// unstick has the group itself take what of a source, all from n on, is before the newest that
// was taken of it: it would have to be remembered how much that is. Where nothing is, that
// is said.
func (g *grab) unstick(from source, newest store.Seq, all []awaited, n int) []awaited {
	k, bytes := n, int64(0)
	for k < len(all) && all[k].seq < newest && k-n < grabMax && bytes < grabBytesMax {
		bytes += int64(all[k].bytes)
		k++
	}
	if k == n {
		g.floor(from, newest+1)
		return all
	}
	g.fold = append(g.fold, all[n:k]...)
	return append(all[:n], all[k:]...)
}

// floor notes that what of a source is before below is done with.
func (g *grab) floor(from source, below store.Seq) {
	if g.floors == nil {
		g.floors = make(map[source]store.Seq)
	}
	g.floors[from] = max(g.floors[from], below)
}

func (g *grab) release() {
	for _, f := range g.frames {
		f.Release()
	}
}
