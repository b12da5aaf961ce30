package router

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Who subscribes with many others at once is found as if each had come alone, whatever was
// there before.
func TestSubscribeAllIsSubscribeForEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, all := New(), New()
		ref := func(n int) Subscriber { return Subscriber{Ref: Ref{Slot: uint32(n)}, SubID: uint32(n)} } //nolint:gosec // small
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			var list []Filtered
			for n := range rapid.IntRange(0, 150).Draw(t, "sessions") {
				filter := fmt.Sprintf("a/%d", rapid.IntRange(0, 90).Draw(t, "filter"))
				if rapid.IntRange(0, 9).Draw(t, "wild") == 0 {
					filter += "/+"
				}
				s := ref(n)
				s.Opts = Opts(rapid.IntRange(0, 2).Draw(t, "qos")) //nolint:gosec // small
				list = append(list, Filtered{filter, s})
				one.Subscribe(filter, s)
			}
			all.SubscribeAll(list)
		}
		if one.Stats() != all.Stats() {
			t.Fatalf("%+v, want %+v", all.Stats(), one.Stats())
		}
		var got, want Matches
		for n := range 91 {
			for _, name := range []string{fmt.Sprintf("a/%d", n), fmt.Sprintf("a/%d/x", n)} {
				one.Match([]byte(name), &want)
				all.Match([]byte(name), &got)
				if !slices.Equal(sorted(got.Subs), sorted(want.Subs)) {
					t.Fatalf("%s: %v, want %v", name, got.Subs, want.Subs)
				}
			}
			for _, filter := range []string{fmt.Sprintf("a/%d", n), fmt.Sprintf("a/%d/+", n)} { // and each can be taken out again
				for s := range 150 {
					if one.Unsubscribe(filter, ref(s).Ref) != all.Unsubscribe(filter, ref(s).Ref) {
						t.Fatalf("%s of %d is there once and not twice", filter, s)
					}
				}
			}
		}
		if all.Stats() != (Stats{}) {
			t.Fatalf("left: %+v", all.Stats())
		}
	})
}

// What a broker does when it starts with so many sessions, and as it would if they came.
func BenchmarkSubscribeAll(b *testing.B) {
	const n = 100_000
	list := make([]Filtered, n)
	for i := range list {
		list[i] = Filtered{exactFilter(i), Subscriber{Ref: Ref{Slot: uint32(i)}}}
	}
	b.Run("at once", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			New().SubscribeAll(list)
		}
	})
	b.Run("one by one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x := New()
			for i := range list {
				x.Subscribe(list[i].Filter, list[i].Sub)
			}
		}
	})
}
