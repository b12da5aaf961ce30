package view

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// userRecord makes name a user.
func userRecord(name string) store.Record {
	return store.Record{Kind: store.User, Body: (&fact.Value{Name: name, Content: []byte("content")}).Append(nil)}
}

// isUser asks the rows.
func isUser(t *testing.T, v *View, name string) (found bool) {
	t.Helper()
	if err := v.Values(store.User, func(n string, _ []byte) error { found = found || n == name; return nil }); err != nil {
		t.Error(err)
	}
	return found
}

// After Wait the rows know the record, whoever came first.
func TestWaitEndsWhenTheRowsKnow(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem()})
	early := put(t, l, userRecord("early"))
	waited := make(chan error, 1)
	go func() { waited <- v.Wait(t.Context(), early) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := v.Wait(ctx, early); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before Run: %v", err)
	}
	v.Run(newEar())
	if err := <-waited; err != nil || !isUser(t, v, "early") {
		t.Errorf("a record from before Run: %v", err)
	}
	for range 100 {
		if err := v.Wait(t.Context(), put(t, l, userRecord("late"))); err != nil || !isUser(t, v, "late") {
			t.Fatal(err)
		}
		gone := put(t, l, store.Record{Kind: store.User, Body: (&fact.Value{Name: "late", Gone: true}).Append(nil)})
		if err := v.Wait(t.Context(), gone); err != nil || isUser(t, v, "late") {
			t.Fatal(err)
		}
	}
	if err := v.CatchUp(t.Context(), early); err == nil {
		t.Error("two goroutines may apply")
	}
	go func() { waited <- v.Wait(context.Background(), 1<<40) }()
	shut(t, v, l)
	if err := <-waited; !errors.Is(err, ErrClosed) {
		t.Errorf("when it closes: %v", err)
	}
}

// Whoever writes before Run applies it himself, and Run goes on after it.
func TestCatchUpBeforeRun(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem()})
	a := put(t, l, userRecord("a"))
	put(t, l, userRecord("b"))
	if err := v.CatchUp(t.Context(), a); err != nil || !isUser(t, v, "a") || isUser(t, v, "b") {
		t.Errorf("%v", err)
	}
	if err := v.CatchUp(t.Context(), a); err != nil {
		t.Errorf("again: %v", err)
	}
	ear := newEar()
	v.Run(ear)
	c := put(t, l, userRecord("c"))
	if err := v.Wait(t.Context(), c); err != nil || !isUser(t, v, "b") || !isUser(t, v, "c") {
		t.Errorf("%v", err)
	}
	ear.wait(t, c)
	if _, heard := ear.outcomes[a]; heard || len(ear.outcomes) != 2 {
		t.Errorf("heard %v", ear.outcomes)
	}
	shut(t, v, l)
	if err := v.CatchUp(t.Context(), c); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
