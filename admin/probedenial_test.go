package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// fakeDenier remembers what is denied and when that has changed.
type fakeDenier struct {
	mu      sync.Mutex // guards all below
	entries []string
	times   []time.Time
	refuse  error

	grantsEnded int
}

func (f *fakeDenier) GrantEnded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grantsEnded++
}

func (f *fakeDenier) DenyForProbes(_ context.Context, entries []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	f.entries, f.times = slices.Clone(entries), append(f.times, time.Now())
	return nil
}

func (f *fakeDenier) denies() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.entries
}

func print(n int) string { return fmt.Sprintf("%064x", n) }

// Certificates are denied by their fingerprints only, so many and no more, and the log says
// which.
func TestProbeDenials(t *testing.T) {
	r := newRig(t, nil)
	d, err := r.client.DenyForProbe(t.Context(), []string{print(1), strings.ToUpper(print(0xab))})
	if err != nil || !d.ExpiresAt.Equal(t0.Add(time.Minute)) {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := r.client.DenyForProbe(t.Context(), []string{print(1), print(2)}); err != nil {
		t.Fatal(err)
	}
	want := []string{"sha256:" + print(1), "sha256:" + print(0xab), "sha256:" + print(2)}
	if got := r.fake.denier.denies(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if log := r.log.String(); !strings.Contains(log, want[1]) {
		t.Error("the log does not say what is denied")
	}
	for _, body := range []string{`{"fingerprints":["serial:01"]}`, `{"fingerprints":["` + print(1)[1:] + `"]}`, `{"fingerprints":[]}`, `{"fingerprints":["` + print(9) + `"],"for":"1h"}`, `{}`} {
		if resp, text := r.raw(http.MethodPost, "/api/v5/probe/denial", body); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", body, resp.StatusCode, text)
		}
	}
	var all []string
	for i := range denialsMax {
		if all = append(all, print(100+i)); len(all) == 16 {
			if _, err = r.client.DenyForProbe(t.Context(), all); err != nil {
				break
			}
			all = nil
		}
	}
	if status(err) != http.StatusConflict || len(r.fake.denier.denies()) > denialsMax {
		t.Errorf("%v with %d denied", err, len(r.fake.denier.denies()))
	}
}

// A denial ends after its minute although nobody asks for it, each at its own time; one that
// could not be ended is tried again.
func TestProbeDenialsEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := builtin.Open(newMemory(), clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		f := &fakeDenier{}
		p := NewProbes(store, newPolicy(t), f, clock.System{}, slog.New(slog.DiscardHandler))
		done := make(chan struct{})
		go func() { defer close(done); p.attend(t.Context()) }()
		begin := time.Now()
		for i := range 2 {
			if _, err := p.Deny(t.Context(), []string{print(i)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		var at []time.Duration
		for _, x := range f.times {
			at = append(at, x.Sub(begin))
		}
		if want := []time.Duration{0, 20 * time.Second, time.Minute, 80 * time.Second}; len(f.denies()) > 0 || !slices.Equal(at, want) {
			t.Errorf("%q are left; changed at %v, want %v", f.denies(), at, want)
		}

		f.refuse = errors.New("not now")
		if _, err := p.Deny(t.Context(), []string{print(7)}); err == nil || len(p.denied) > 0 {
			t.Errorf("%v, %v", err, p.denied)
		}
		f.refuse = nil
		if _, err := p.Deny(t.Context(), []string{print(7)}); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.refuse = errors.New("not now")
		f.mu.Unlock()
		time.Sleep(90 * time.Second)
		f.mu.Lock()
		f.refuse = nil
		f.mu.Unlock()
		if len(f.denies()) != 1 {
			t.Error("it has ended although it could not")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(f.denies()) > 0 {
			t.Error("it was not tried again")
		}
	})
}
