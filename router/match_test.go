package router

import (
	"fmt"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		rule    string
		filters []string
		topic   string
		want    int
	}{
		{"§4.7.1.2", []string{"a/#", "a", "a/+", "#", "+", "a/b/#"}, "a", 4},
		{"§4.7.1.3", []string{"+/+", "/+", "+", "/a", "/", "a"}, "/a", 3},
		{"MQTT-4.7.2-1", []string{"#", "+/x", "+/#", "$SYS/#", "$SYS/+", "$SYS/x"}, "$SYS/x", 3},
		{"MQTT-4.7.2-1", []string{"a/#", "a/+", "#"}, "a/$x", 3},
		{"MQTT-4.7.3-4", []string{"a//b", "a/+/b", "a/b"}, "a//b", 2},
		{"A035", []string{"#", "+", "$/#", "$"}, "$", 2},
		{"A035", []string{"#", "$share/a/b", "$queue/x"}, "$share/a/b", 1},
		{"MQTT-4.7.3-1", []string{"#", "+"}, "", 0},
	} {
		x := New()
		for _, f := range c.filters {
			x.Subscribe(f, Subscriber{})
		}
		var m Matches
		x.Match([]byte(c.topic), &m)
		if len(m.Subs) != c.want || m.Filters != c.want {
			t.Errorf("%s: %q matches %d of %q, want %d", c.rule, c.topic, len(m.Subs), c.filters, c.want)
		}
	}
}

// The same session and filter again replaces identifier and options
// [MQTT-3.8.4-3]; another generation of the slot is another session.
func TestSubscribeAgainReplaces(t *testing.T) {
	for _, filter := range []string{"a/b", "a/+", "#"} {
		x := New()
		ref := Ref{Home: 1, Slot: 2, Gen: 3}
		if x.Subscribe(filter, Subscriber{ref, 1, 0}) {
			t.Errorf("%s: replaced what was not there", filter)
		}
		if !x.Subscribe(filter, Subscriber{ref, 2, NoLocal | 1}) {
			t.Errorf("%s: did not replace", filter)
		}
		var m Matches
		x.Match([]byte("a/b"), &m)
		if len(m.Subs) != 1 || m.Subs[0] != (Subscriber{ref, 2, NoLocal | 1}) || m.Subs[0].Opts.QoS() != 1 {
			t.Errorf("%s: %v", filter, m.Subs)
		}
		if x.Unsubscribe(filter, Ref{Home: 1, Slot: 2, Gen: 4}) {
			t.Errorf("%s: another generation was unsubscribed", filter)
		}
		if !x.Unsubscribe(filter, ref) || x.Unsubscribe(filter, ref) {
			t.Errorf("%s: not unsubscribed exactly once", filter)
		}
	}
}

// combinations subscribes with every filter of that depth made of x and +, with
// '#' behind it, and answers how many there are.
func combinations(x *Index, depth int) int {
	n := 1 << depth
	for bits := range n {
		var b strings.Builder
		for i := range depth {
			b.WriteString([]string{"x/", "+/"}[bits>>i&1])
		}
		x.Subscribe(b.String()+"#", Subscriber{Ref: Ref{Slot: uint32(bits)}})
	}
	return n
}

// The fullest trie of 13 levels is matched whole, fuller ones are cut short, say
// so, and leave nothing behind (A037).
func TestMatchNodesMax(t *testing.T) {
	for depth, cut := range map[int]bool{13: false, 14: true, 15: true} {
		x := New()
		n := combinations(x, depth)
		var m Matches
		x.Match([]byte(strings.Repeat("x/", depth-1)+"x"), &m)
		if m.Truncated != cut || (len(m.Subs) < n) != cut {
			t.Errorf("%d levels: truncated %t with %d of %d", depth, m.Truncated, len(m.Subs), n)
		}
		if len(m.stack) != 0 {
			t.Errorf("%d nodes are kept", len(m.stack))
		}
		for _, v := range m.stack[:cap(m.stack)] {
			if v.n != nil {
				t.Fatal("a node is kept behind the stack")
			}
		}
		x.Match([]byte("x"), &m) // and the next match starts afresh
		if m.Truncated || len(m.Subs) != 0 {
			t.Errorf("after it: truncated %t, %d subscribers", m.Truncated, len(m.Subs))
		}
	}
}

// The limit is exact: a single chain of nodes and the two roots.
func TestMatchNodesMaxIsExact(t *testing.T) {
	for levels, cut := range map[int]bool{MatchNodesMax - 2: false, MatchNodesMax - 1: true} {
		x := New()
		name := strings.Repeat("x/", levels-1) + "x"
		x.Subscribe(name+"/#", Subscriber{})
		var m Matches
		if x.Match([]byte(name), &m); m.Truncated != cut || len(m.Subs) != 1 {
			t.Errorf("%d levels: truncated %t, %d subscribers", levels, m.Truncated, len(m.Subs))
		}
	}
}

// Depth is no recursion and no stack (A030, A033).
func TestHostileDepth(t *testing.T) {
	x := New()
	deep := strings.Repeat("/", 65535)
	for i, f := range []string{deep, deep[1:] + "+", deep[1:] + "#"} {
		x.Subscribe(f, Subscriber{Ref: Ref{Slot: uint32(i)}})
	}
	var m Matches
	x.Match([]byte(deep), &m)
	if !m.Truncated || len(m.Subs) != 1 {
		t.Errorf("%d subscribers, truncated %t", len(m.Subs), m.Truncated)
	}
	for i, f := range []string{deep, deep[1:] + "+", deep[1:] + "#"} {
		if !x.Unsubscribe(f, Ref{Slot: uint32(i)}) {
			t.Errorf("filter %d was not there", i)
		}
	}
	if n := x.nodes(); n != 0 {
		t.Errorf("%d nodes are left", n)
	}
}

// A filter that is not valid is not this package's business, but it must not do
// harm: it can be removed, and matches nothing.
func TestInvalidFilters(t *testing.T) {
	for _, f := range []string{"", "a/#/b", "#/", "##", "a+", "+a/b", "a/b#", "a/#/#"} {
		x := New()
		x.Subscribe(f, Subscriber{})
		var m Matches
		for _, name := range []string{"", "a", "a/b", "a/x/b", "x", "a/"} {
			if x.Match([]byte(name), &m); len(m.Subs) != 0 {
				t.Errorf("%q matches %q", f, name)
			}
		}
		if !x.Unsubscribe(f, Ref{}) || x.nodes() != 0 {
			t.Errorf("%q cannot be removed", f)
		}
	}
}

// The index keeps no part of a filter with a wildcard: a node of a short one would keep the
// long one that it came with.
func TestLevelsAreCopied(t *testing.T) {
	x := New()
	for _, f := range []string{"dev/1/+"} {
		b := []byte(f)
		x.Subscribe(unsafeString(b), Subscriber{})
		for i := range b {
			b[i] = '!'
		}
	}
	var m Matches
	if x.Match([]byte("dev/1/state"), &m); len(m.Subs) != 1 {
		t.Errorf("%d of 1 filters are as they were given", len(m.Subs))
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a/+/#", "a/b", "a/b/c")
	f.Add("+/#", "#", "$x")
	f.Add("/", "+/+", "/")
	f.Fuzz(func(t *testing.T, a, b, name string) {
		x, w := New(), twin{}
		for i, filter := range []string{a, b} {
			s := Subscriber{Ref: Ref{Slot: uint32(i)}}
			x.Subscribe(filter, s)
			w.subscribe(filter, s)
		}
		var m Matches
		x.Match([]byte(name), &m)
		if validAll(a, b) && validName(name) && !m.Truncated {
			if subs, filters := w.match(name); fmt.Sprint(sorted(m.Subs)) != fmt.Sprint(sorted(subs)) || m.Filters != filters {
				t.Fatalf("Match(%q) with %q and %q = %v, want %v", name, a, b, m.Subs, subs)
			}
		}
		if !x.Unsubscribe(a, Ref{Slot: 0}) || !x.Unsubscribe(b, Ref{Slot: 1}) || x.nodes() != 0 {
			t.Fatalf("%q and %q leave %d nodes", a, b, x.nodes())
		}
	})
}
