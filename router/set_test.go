package router

import "testing"

// A set takes the form that suits its size, on the way up and on the way down, and
// has the same subscribers in each.
func TestSetForms(t *testing.T) {
	form := func(s set) string {
		switch {
		case s.more == nil:
			return "one"
		case s.more.few != nil:
			return "few"
		}
		return "big"
	}
	sub := func(i int) Subscriber { return Subscriber{Ref: Ref{Slot: uint32(i)}} }
	s := set{one: sub(0)}
	const n = 500
	for i := 1; i < n; i++ {
		s, _ = s.with(sub(i))
		want := "few"
		if i+1 > fewMax {
			want = "big"
		}
		if form(s) != want || len(s.appendTo(nil)) != i+1 {
			t.Fatalf("%d subscribers are %s of %d", i+1, form(s), len(s.appendTo(nil)))
		}
	}
	for i := range n - 1 {
		out, left, existed := s.without(sub(i).Ref)
		if s = out; !left || !existed {
			t.Fatalf("subscriber %d: left %t, existed %t", i, left, existed)
		}
		want := "big"
		switch rest := n - 1 - i; {
		case rest == 1:
			want = "one"
		case rest < bigMin:
			want = "few"
		}
		if form(s) != want || len(s.appendTo(nil)) != n-1-i {
			t.Fatalf("%d subscribers are %s of %d", n-1-i, form(s), len(s.appendTo(nil)))
		}
	}
	if _, left, existed := s.without(sub(n - 1).Ref); left || !existed {
		t.Errorf("the last one: left %t, existed %t", left, existed)
	}
}

// Sequential slots, the usual case, spread over the slots of forks.
func TestRefHashSpreads(t *testing.T) {
	var count [forkWidth]int
	for i := range uint32(8000) {
		count[Ref{Home: 1, Slot: i, Gen: 1}.hash()%forkWidth]++
	}
	for i, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("slot %d gets %d of 8000", i, n)
		}
	}
}
