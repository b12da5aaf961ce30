package router

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/topic"
)

// twin is an index too plain to be wrong: a list, judged with topic.Match.
type twin []pair

type pair struct {
	filter string
	sub    Subscriber
}

func (w *twin) find(filter string, ref Ref) int {
	return slices.IndexFunc(*w, func(p pair) bool { return p.filter == filter && p.sub.Ref == ref })
}

func (w *twin) subscribe(filter string, s Subscriber) bool {
	if i := w.find(filter, s.Ref); i >= 0 {
		(*w)[i].sub = s
		return true
	}
	*w = append(*w, pair{filter, s})
	return false
}

func (w *twin) unsubscribe(filter string, ref Ref) bool {
	i := w.find(filter, ref)
	if i < 0 {
		return false
	}
	*w = slices.Delete(*w, i, i+1)
	return true
}

func (w twin) match(name string) (subs []Subscriber, filters int) {
	hit := map[string]bool{}
	for _, p := range w {
		if topic.Match(p.filter, []byte(name)) {
			subs = append(subs, p.sub)
			hit[p.filter] = true
		}
	}
	return subs, len(hit)
}

func (w twin) stats() Stats {
	exact, wild := map[string]bool{}, map[string]bool{}
	for _, p := range w {
		if topic.HasWildcard(p.filter) {
			wild[p.filter] = true
		} else {
			exact[p.filter] = true
		}
	}
	return Stats{Exact: len(exact), Wildcard: len(wild), Subscribers: len(w)}
}

func sorted(subs []Subscriber) []Subscriber {
	out := slices.Clone(subs)
	slices.SortFunc(out, func(a, b Subscriber) int {
		switch {
		case a.Ref.Less(b.Ref):
			return -1
		case b.Ref.Less(a.Ref):
			return 1
		case a.SubID != b.SubID:
			return int(a.SubID) - int(b.SubID)
		}
		return int(a.Opts) - int(b.Opts)
	})
	return out
}

func genTopic(levels ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := ""
		for i := range rapid.IntRange(1, 5).Draw(t, "depth") {
			if i > 0 {
				s += "/"
			}
			s += rapid.SampledFrom(levels).Draw(t, "level")
		}
		return s
	})
}

// Random subscriptions and matches against the twin; at the end everything is
// unsubscribed and nothing may be left (A042). Few references make for overlapping
// filters of one session, many for sets that turn into trees and back.
func TestAgainstTwin(t *testing.T) {
	genFilter := genTopic("", "a", "b", "$", "$x", "+", "+", "#").Filter(func(s string) bool { return topic.ValidFilter(s) == nil })
	genName := genTopic("", "a", "b", "c", "$", "$x").Filter(func(s string) bool { return s != "" })
	rapid.Check(t, func(t *rapid.T) {
		x, w := New(), twin{}
		filters := rapid.SliceOfN(genFilter, 1, 40).Draw(t, "filters")
		refs := rapid.SampledFrom([]int{1, 3, 200}).Draw(t, "refs")
		var m Matches
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			filter := rapid.SampledFrom(filters).Draw(t, "filter")
			ref := Ref{Home: uint16(rapid.IntRange(0, 1).Draw(t, "home")), Slot: uint32(rapid.IntRange(0, refs).Draw(t, "slot")), Gen: 1}
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0, 1:
				if got, want := x.Unsubscribe(filter, ref), w.unsubscribe(filter, ref); got != want {
					t.Fatalf("Unsubscribe(%q, %v) = %t", filter, ref, got)
				}
			case 2:
				compare(t, x, w, rapid.OneOf(genName, rapid.SampledFrom(filters)).Draw(t, "name"), &m)
			default:
				s := Subscriber{ref, rapid.Uint32Range(0, 3).Draw(t, "id"), Opts(rapid.IntRange(0, 31).Draw(t, "opts"))}
				if got, want := x.Subscribe(filter, s), w.subscribe(filter, s); got != want {
					t.Fatalf("Subscribe(%q, %v) = %t", filter, s, got)
				}
			}
			if x.Stats() != w.stats() {
				t.Fatalf("Stats() = %+v, want %+v", x.Stats(), w.stats())
			}
		}
		for _, f := range filters {
			compare(t, x, w, f, &m)
		}
		for len(w) > 0 {
			p := w[len(w)/2]
			if !x.Unsubscribe(p.filter, p.sub.Ref) || !w.unsubscribe(p.filter, p.sub.Ref) {
				t.Fatalf("Unsubscribe(%q, %v) found nothing", p.filter, p.sub.Ref)
			}
		}
		if n := x.nodes(); n != 0 || x.Stats() != (Stats{}) {
			t.Fatalf("%d nodes are left of nothing, %+v", n, x.Stats())
		}
	})
}

func compare(t *rapid.T, x *Index, w twin, name string, m *Matches) {
	if topic.ValidName([]byte(name)) != nil {
		return
	}
	x.Match([]byte(name), m)
	subs, filters := w.match(name)
	if m.Truncated || m.Filters != filters || !slices.Equal(sorted(m.Subs), sorted(subs)) {
		t.Fatalf("Match(%q) = %v (%d filters), want %v (%d filters)", name, sorted(m.Subs), m.Filters, sorted(subs), filters)
	}
}

// nodes counts everything an index holds that a subscription can have made.
func (x *Index) nodes() int {
	n := 0
	for i := range x.exact {
		n += x.exact[i].tree.root.Load().twigs()
	}
	for i := range x.wild {
		n += x.wild[i].root.nodes()
	}
	return n + x.leading.root.nodes()
}

func (n *node) nodes() int {
	sum := n.kids.root.Load().twigs()
	for _, k := range n.kids.appendTo(nil) {
		sum += 1 + k.node.nodes()
	}
	if p := n.plus.Load(); p != nil {
		sum += 1 + p.nodes()
	}
	if n.here.Load() != nil {
		sum++
	}
	if n.below.Load() != nil {
		sum++
	}
	return sum
}

func (tw *twig[E]) twigs() int {
	if tw == nil {
		return 0
	}
	n := 1
	if tw.fork != nil {
		for i := range tw.fork.slots {
			n += tw.fork.slots[i].Load().twigs()
		}
	}
	return n
}

// What 100,000 one-time subscriptions made is gone when they are (A042), while one
// that stays is not touched.
func TestNothingIsLeft(t *testing.T) {
	x := New()
	stay := Ref{Slot: 1}
	x.Subscribe("dev/x/state", Subscriber{Ref: stay})
	x.Subscribe("dev/+/state", Subscriber{Ref: stay})
	before := x.nodes()
	const n = 25_000
	patterns := []string{"dev/%d/state", "dev/%d/+/state", "dev/+/%d/#", "%d/#"}
	for _, batch := range []int{1, n} { // one at a time, and all at once
		for from := 0; from < n; from += batch {
			for i := from; i < from+batch; i++ {
				for _, p := range patterns {
					x.Subscribe(fmt.Sprintf(p, i), Subscriber{Ref: Ref{Slot: 2}})
				}
			}
			if from == 0 && x.Stats().Subscribers != 2+batch*len(patterns) {
				t.Fatalf("%+v", x.Stats())
			}
			for i := from; i < from+batch; i++ {
				for _, p := range patterns {
					if !x.Unsubscribe(fmt.Sprintf(p, i), Ref{Slot: 2}) {
						t.Fatalf(p+" was not there", i)
					}
				}
			}
		}
		if after := x.nodes(); after != before {
			t.Fatalf("%d nodes before, %d after", before, after)
		}
	}
	// The same for the subscribers of one filter.
	for i := range uint32(n) {
		x.Subscribe("dev/+/state", Subscriber{Ref: Ref{Slot: 2, Gen: i}})
	}
	for i := range uint32(n) {
		x.Unsubscribe("dev/+/state", Ref{Slot: 2, Gen: i})
	}
	var m Matches
	x.Match([]byte("dev/x/state"), &m)
	if len(m.Subs) != 2 || m.Filters != 2 || x.nodes() != before {
		t.Fatalf("%v of %d filters, %d nodes, want %d", m.Subs, m.Filters, x.nodes(), before)
	}
}
