package router

import (
	"fmt"
	"testing"
)

// fuzzFilters and fuzzNames are few, so that the fuzzer meets itself often; the
// filters of every other operation are its own bytes.
var (
	fuzzFilters = []string{"a", "a/b", "a/+", "a/#", "#", "+", "+/b", "+/+/c", "a/b/c", "/", "+/", "$x/#", "$x/a"}
	fuzzNames   = []string{"a", "a/b", "a/b/c", "/", "a/", "/b", "$x", "$x/a", "x/b"}
)

// FuzzIndex plays any list of subscriptions, unsubscriptions and matches on the
// index and on its twin. They must agree on every answer, and nothing may be left
// when everybody has gone. Three bytes are an operation: what, who, which filter.
func FuzzIndex(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x00\x02\x03\x02\x00\x01\x01\x01\x02\x02\x00\x01"), "a/+/#")
	f.Add([]byte("\x00\x01\x04\x00\x01\x05\x00\x01\x0b\x02\x00\x06\x02\x00\x07"), "$x/+")
	f.Add([]byte("\x00\x01\x20\x00\x02\x20\x01\x01\x20\x02\x00\x01\x00\x03\x20"), "é/+")
	f.Fuzz(func(t *testing.T, in []byte, own string) {
		x, w := New(), twin{}
		var m Matches
		filters := fuzzFilters
		if validAll(own) {
			filters = append(filters[:len(filters):len(filters)], own)
		}
		for ; len(in) >= 3; in = in[3:] {
			ref := Ref{Home: uint16(in[1] & 1), Slot: uint32(in[1] >> 1 & 7), Gen: uint32(in[1] >> 7)}
			filter := filters[int(in[2])%len(filters)]
			switch in[0] % 3 {
			case 0:
				s := Subscriber{Ref: ref, SubID: uint32(in[0]), Opts: Opts(in[2] & 3)}
				if got, want := x.Subscribe(filter, s), w.subscribe(filter, s); got != want {
					t.Fatalf("Subscribe(%q, %v) = %t, want %t", filter, s, got, want)
				}
			case 1:
				if got, want := x.Unsubscribe(filter, ref), w.unsubscribe(filter, ref); got != want {
					t.Fatalf("Unsubscribe(%q, %v) = %t, want %t", filter, ref, got, want)
				}
			case 2:
				name := fuzzNames[int(in[2])%len(fuzzNames)]
				x.Match([]byte(name), &m)
				subs, n := w.match(name)
				if fmt.Sprint(sorted(m.Subs)) != fmt.Sprint(sorted(subs)) || m.Filters != n || m.Truncated {
					t.Fatalf("Match(%q) = %v, want %v", name, m.Subs, subs)
				}
			}
		}
		for _, filter := range filters {
			for who := range 256 {
				ref := Ref{Home: uint16(who & 1), Slot: uint32(who >> 1 & 7), Gen: uint32(who >> 7)}
				if got, want := x.Unsubscribe(filter, ref), w.unsubscribe(filter, ref); got != want {
					t.Fatalf("at the end Unsubscribe(%q, %v) = %t, want %t", filter, ref, got, want)
				}
			}
		}
		if n := x.nodes(); n != 0 || x.Stats().Subscribers != 0 {
			t.Fatalf("%d nodes and %+v are left of nothing", n, x.Stats())
		}
	})
}
