package harden

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
)

// works gives a node many rows, each of which takes so long, and answers when each began.
func (p *patientNode) works(rows int, took time.Duration) (begun func() []time.Time) {
	var at []time.Time
	p.o.Checks = nil
	for i := range rows {
		c := row(fmt.Sprintf("P9.%d", i), Low, 3, Kernel)
		c.Run = func(ctx context.Context, _ *Env) []Result {
			p.mu.Lock()
			at = append(at, bubbleNow())
			p.mu.Unlock()
			select {
			case <-time.After(took):
			case <-ctx.Done():
				return []Result{{Scope: "node", State: Unknown}}
			}
			return []Result{{Scope: "node", State: Pass, Confidence: Kernel}}
		}
		p.o.Checks = append(p.o.Checks, c)
	}
	return func() []time.Time {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Clone(at)
	}
}

// A look rests between its rows, for 99 times as long as one took, and says of rows how long
// they took and not how long it rested.
func TestALookRestsBetweenRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const took = 5 * time.Millisecond
		p := newPatient()
		begun := p.works(8, took)
		p.start(t)
		for p.Last() == nil && len(begun()) < 9 {
			pass(10 * time.Millisecond)
		}
		p.Changed(&p.conf)
		rep := p.Last()
		if rep == nil || len(begun()) != 8 || rep.Score().Points != 100 {
			t.Fatalf("%+v", rep)
		}
		for i := range rep.Rows {
			if rep.Rows[i].Took != took {
				t.Errorf("row %d took %v", i, rep.Rows[i].Took)
			}
			if i > 0 {
				if d := begun()[i].Sub(begun()[i-1]); d != (1+restPart)*took {
					t.Errorf("row %d began %v after the one before", i, d)
				}
			}
		}
		if rep.Duration != 8*took+7*restPart*took || !p.logged(`"took":"40ms"`) {
			t.Errorf("it took %v\n%s", rep.Duration, p.text())
		}
		// What was rested within it need not be rested again.
		if pass(2100 * time.Millisecond); len(begun()) == 8 {
			t.Error("it rests twice for the same")
		}
	})
}

// What takes no time is done in one go.
func TestALookDoesNotRestForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		begun := p.works(10, pieceLeast/20)
		p.start(t)
		pass(30 * time.Second)
		if d := begun()[9].Sub(begun()[0]); d != 9*pieceLeast/20 {
			t.Errorf("%v", d)
		}
	})
}

// Rests are no hang and take nothing of the time that a look has, and the rest of them is bounded.
func TestRestsAreNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		begun := p.works(300, 50*time.Millisecond) // 15 s of work
		p.start(t)
		pass(20 * time.Second)
		pass(2 * hangsAfter)
		if p.Hangs() != nil || p.alarmed(alarm.HardeningHangs) != "" || p.Last() != nil || len(begun()) < 60 {
			t.Errorf("%+v, %d rows", p.Hangs(), len(begun()))
		}
		pass(restsMost)
		if rep := p.Last(); rep == nil || len(rep.rowsIn(Unknown)) != 0 || rep.Duration > restsMost+16*time.Second || rep.Duration < restsMost {
			t.Errorf("%+v", rep)
		}
	})
}

// A look that works for longer than it may is given up, and says what it has not seen; that is no hang.
func TestALookThatWorksTooLongIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.works(40, time.Second)
		p.start(t)
		pass(2 * time.Minute)
		rep := p.Last()
		if rep == nil || p.Hangs() != nil || p.logged("hardening_hangs") {
			t.Fatalf("%+v, %v", rep, p.Hangs())
		}
		if n := len(rep.rowsIn(Unknown)); n < 10 || n > 12 {
			t.Errorf("%d of 40 rows are unknown after %v", n, lookWithin)
		}
	})
}

// A broker that stops does not wait for a rest.
func TestAStopEndsARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		begun := p.works(10, 100*time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.Run(ctx)
		}()
		for len(begun()) == 0 {
			pass(10 * time.Millisecond)
		}
		pass(300 * time.Millisecond) // of a second of rest
		began := bubbleNow()
		cancel()
		<-done
		if took := bubbleNow().Sub(began); took != 0 || len(begun()) != 1 || p.Last() != nil {
			t.Errorf("it took %v, %d rows", took, len(begun()))
		}
	})
}

// ticking is a clock that goes on by a millisecond whenever somebody looks at it, as if all took so long.
type ticking struct{ since *time.Duration }

// Now implements clock.Clock.
func (c ticking) Now() time.Time {
	*c.since += time.Millisecond
	return bubbleNow().Add(*c.since)
}

// Long tables and lists are gone through with rests, where nobody waits for the look.
func TestLongTablesAreReadWithRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := hexWord(t, "7F000001")
		line := func(state string, inode int) string {
			return fmt.Sprintf("   1: %s:22B3 %s:1234 %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 x\n", local, local, state, inode)
		}
		proc := t.TempDir()
		write := func(name, text string) {
			t.Helper()
			path := filepath.Join(proc, "7", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("net/tcp", "  sl  local_address\n"+line("0A", 11)+strings.Repeat(line("01", 12), 1000)+line("0A", 13))
		for i := range 2 * descriptorsBatch {
			write(fmt.Sprintf("fd/%d", i), "")
		}
		for _, paced := range []bool{true, false} {
			e := &Env{Proc: proc, Clock: ticking{new(time.Duration)}}
			if paced {
				e.seen.pace = newPace(e.Clock, nil)
			}
			began := bubbleNow()
			if found, err := e.inet(7, "tcp", "tcp", "0A"); err != nil || len(found) != 2 {
				t.Fatal(found, err)
			}
			table := bubbleNow().Sub(began)
			if d := e.descriptors(7); d.trouble != nil || d.count != 2*descriptorsBatch {
				t.Fatalf("%+v", d)
			}
			list := bubbleNow().Sub(began) - table
			if rested := table > time.Second && list >= 2*restPart*time.Millisecond; rested != paced || !paced && table+list != 0 || e.seen.pace.restedFor() < table+list {
				t.Errorf("%v: %v and %v, %v in all", paced, table, list, e.seen.pace.restedFor())
			}
		}
		if _, err := io.ReadAll(breather{strings.NewReader("x"), &Env{}}); err != nil {
			t.Error(err)
		}
	})
}
