package fix

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/harden"
)

// The newest runs are kept, and of older ones the last that can be taken back.
func TestOldRunsGo(t *testing.T) {
	for _, c := range []struct {
		progress func(i int) string // from the oldest
		left     int
		first    int // the oldest that is there afterwards
	}{
		{func(int) string { return Applied }, RunsKept, 31 - RunsKept},
		{func(i int) string {
			if i == 3 {
				return Applied
			}
			return Undone
		}, RunsKept + 1, 3},
	} {
		s := newStage(t)
		name := func(i int) string { return fmt.Sprintf("20260115T1015%02dZ-abcdef", i) }
		for i := range 30 {
			j := &Journal{Schema: journalSchema, Run: name(i), Began: time.Date(2026, 1, 15, 10, 15, i, 0, time.UTC), By: s.UID, Progress: c.progress(i)}
			if err := s.keep(j); err != nil {
				t.Fatal(err)
			}
		}
		p := s.make(t, s.order(t, found("P4.3", harden.Warn, want(harden.WantSetting, "limits.inflight", "32"))))
		run, err := s.Apply(t.Context(), p, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.Runs()
		if err != nil || len(all) != c.left || !slices.ContainsFunc(all, func(j *Journal) bool { return j.Run == run }) || all[len(all)-1].Run != name(c.first) && all[len(all)-2].Run != name(c.first) {
			t.Errorf("%d runs, %v; the oldest is %s", len(all), err, all[len(all)-1].Run)
		}
		if _, err := s.Rollback(t.Context(), run, false); err != nil {
			t.Error(err)
		}
	}
}
