package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/auth/rules"
)

// worked is a clock on which passes what is worked, and what is slept.
type worked time.Duration

func (w *worked) Now() time.Time { return time.Now().Add(time.Duration(*w)) }

// TestAReloadRests: after each piece of work others have the core for three times as long, a second of all at most, and
// nobody waits for that who does not wait for the reload any more.
func TestAReloadRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rests := func(ctx context.Context, step time.Duration, looks int) (n int, slept time.Duration) {
			var work worked
			e, began := newEase(ctx, &work), time.Now()
			for range looks {
				before := time.Now()
				work += worked(step)
				if e.rest(); time.Now().After(before) {
					n++
				}
			}
			return n, time.Since(began)
		}
		if n, slept := rests(t.Context(), easePiece/3, 30); n != 10 || slept != 10*easePart*easePiece {
			t.Errorf("%d rests, %v in all", n, slept)
		}
		if n, slept := rests(t.Context(), 0, 1000); n != 0 {
			t.Errorf("without work %d rests, %v in all", n, slept)
		}
		if _, slept := rests(t.Context(), easePiece, 1_000_000); slept < easeMost-time.Millisecond || slept > easeMost+easePart*easePiece {
			t.Errorf("%v are rested of a long reload", slept)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, slept := rests(ctx, easePiece, 1000); slept > easePart*easePiece {
			t.Errorf("%v are rested for nobody", slept)
		}
	})
}

// fileOfRules is one with n rules, as `make bench` has it.
func fileOfRules(n int) []byte {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {id: other-%d, deny: publish, users: [nobody-%d], topics: [\"elsewhere/%d/#\"]}\n", i, i, i)
	}
	b.WriteString("  - {id: all, allow: all, topics: [\"#\"]}\n")
	return []byte(b.String())
}

// TestRulesAreReadInPieces: nothing of a file of rules is read, compiled or tried in one go, and what has not
// changed is not compiled again.
func TestRulesAreReadInPieces(t *testing.T) {
	n, _ := layeredNode(t, "")
	c := n.loaded.Load().Config
	if err := os.WriteFile(c.Authz.RulesFile, fileOfRules(500), 0o600); err != nil {
		t.Fatal(err)
	}
	rests := 0
	f, err := (*rules.File)(nil).Again(c.Authz.RulesFile, func() { rests++ })
	if err != nil || rests < 3*500 {
		t.Fatalf("%d rests, %v", rests, err)
	}
	rests = 0
	if again, err := f.Again(c.Authz.RulesFile, func() { rests++ }); err != nil || again != f || rests != 0 {
		t.Errorf("a file that has not changed is compiled again, with %d rests, %v", rests, err)
	}
	if err := os.WriteFile(c.Authz.RulesFile, fileOfRules(501), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := f.Again(c.Authz.RulesFile, func() {}); err != nil || again.Policy == f.Policy || len(again.Policy.Rules()) != 503 {
		t.Errorf("what has changed is not noticed: %v", err)
	}
	if err := os.Chmod(c.Authz.RulesFile, 0o602); err != nil {
		t.Fatal(err)
	}
	if again, err := f.Again(c.Authz.RulesFile, func() {}); err == nil {
		t.Errorf("a file that everybody may change is taken: %v", again)
	}
}
