package view

import (
	"cmp"
	"slices"

	"github.com/redoubtmq/redoubt/store"
)

// gather puts the postings of many filters in one order, and keeps no more than it was
// asked for: twice as many at most while it goes on.
type gather struct {
	list []Posting
	at   int       // where in list they begin
	most int       // 0: all
	cut  store.Seq // what is later was left out; never: nothing was
}

func newGather(dst []Posting, most int) gather {
	return gather{list: dst, at: len(dst), most: max(0, most), cut: never}
}

// add takes a posting. It answers false if that is left out, and with it whatever is later.
func (g *gather) add(p Posting) (more bool) {
	if p.Seq > g.cut {
		return false
	}
	g.list = append(g.list, p)
	if g.most > 0 && len(g.list)-g.at > 2*g.most {
		g.settle()
	}
	return true
}

// settle has each once and in order, and no more than most.
func (g *gather) settle() {
	found := g.list[g.at:]
	slices.SortFunc(found, func(a, b Posting) int { return cmp.Compare(a.Seq, b.Seq) })
	found = slices.CompactFunc(found, func(a, b Posting) bool { return a.Seq == b.Seq })
	if g.most > 0 && len(found) > g.most {
		found = found[:g.most]
		g.cut = found[g.most-1].Seq
	}
	g.list = g.list[:g.at+len(found)]
}
