package view

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/local"
)

// childVariable makes the test binary run one test that leaves goroutines behind.
const childVariable = "REDOUBT_VIEW_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

// patience ends a test that would wait for ever. Nothing waits for it to pass.
const patience = 30 * time.Second

// fataler is what a test and a rapid test have.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// smallLog has segments of 4 KiB, so that Trim has something to drop.
var smallLog = local.Options{SegmentBytes: 4 << 10, RingBytes: 4 << 10, ReserveBytes: -1}

func openLog(t fataler, dir disk.Dir, o local.Options) *local.Log {
	t.Helper()
	l, _, err := local.OpenOn(dir, o)
	if err != nil {
		t.Fatalf("open the log: %v", err)
	}
	return l
}

func mustOpen(t fataler, o Options) *View {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o.Sessions = true
	v, err := Open(ctx, o)
	if err != nil {
		t.Fatalf("open the view: %v", err)
	}
	return v
}

// put submits a batch and waits until it is durable.
func put(t fataler, l store.Log, recs ...store.Record) store.Seq {
	t.Helper()
	type outcome struct {
		seq store.Seq
		err error
	}
	ch := make(chan outcome, 1)
	if !l.Submit(0, recs, func(seq store.Seq, err error) { ch <- outcome{seq, err} }) {
		t.Fatalf("the log took nothing")
	}
	select {
	case o := <-ch:
		if o.err != nil {
			t.Fatalf("submit: %v", o.err)
		}
		return o.seq
	case <-time.After(patience):
		t.Fatalf("no outcome came")
		panic("unreachable")
	}
}

// ear is a Sink that remembers, and lets tests wait.
type ear struct {
	mu       sync.Mutex // guards everything below
	outcomes map[store.Seq]Outcome
	heard    store.Seq
	wrong    error
	more     chan struct{}
}

func newEar() *ear { return &ear{outcomes: make(map[store.Seq]Outcome), more: make(chan struct{}, 1)} }

func (e *ear) Applied(first store.Seq, items []Item) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if first <= e.heard {
		e.wrong = fmt.Errorf("batch %d came after %d", first, e.heard)
	}
	for i := range items {
		e.heard = first + store.Seq(i)
		e.outcomes[e.heard] = items[i].Outcome
		var m fact.Message
		if !isMessage(items[i].Record.Kind) || items[i].Outcome == Refused {
			continue
		}
		if is, err := decodeMessage(items[i].Record, &m); err == nil && !is {
			continue
		}
		if _, err := decodeMessage(items[i].Record, &m); err != nil || items[i].Message == nil || !bytes.Equal(m.Topic, items[i].Message.Topic) {
			e.wrong = fmt.Errorf("record %d comes without its message", e.heard)
		}
	}
	select {
	case e.more <- struct{}{}:
	default:
	}
}

// wait waits until seq was heard.
func (e *ear) wait(t fataler, seq store.Seq) {
	t.Helper()
	late := time.After(patience)
	for {
		e.mu.Lock()
		heard, wrong := e.heard, e.wrong
		e.mu.Unlock()
		if wrong != nil {
			t.Fatalf("%v", wrong)
		}
		if heard >= seq {
			return
		}
		select {
		case <-e.more:
		case <-late:
			t.Fatalf("heard of %d, waited for %d", heard, seq)
		}
	}
}

// settle waits until the rows are as far as the rest, which a Sink is told before.
func settle(t fataler, v *View) {
	t.Helper()
	for began := time.Now(); time.Since(began) < patience; runtime.Gosched() {
		v.rows.mu.Lock()
		at := v.rows.at.seq
		v.rows.mu.Unlock()
		if at == v.Applied() {
			return
		}
	}
	t.Fatalf("the rows do not follow")
}

// alarms collects what an operator would hear.
type alarms struct {
	mu   sync.Mutex // guards list
	list []string
}

func (a *alarms) hear(what string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, fmt.Sprintf("%s: %v", what, err))
}

func (a *alarms) count(what string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.list {
		if strings.HasPrefix(s, what+": ") {
			n++
		}
	}
	return n
}

// readAll is what the log has, from its first record to its last.
func readAll(t fataler, l store.Log) (first store.Seq, all []numbered) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	first, last, err := l.Bounds(ctx, 0)
	if err != nil {
		t.Fatalf("bounds: %v", err)
	}
	for from := first; from <= last; {
		err := l.Tail(ctx, 0, from, func(at store.Seq, recs []store.Record) error {
			for i, r := range recs {
				r.Body = bytes.Clone(r.Body)
				all = append(all, numbered{at + store.Seq(i), r})
			}
			if from = at + store.Seq(len(recs)); from > last {
				return errEnough
			}
			return nil
		})
		var missing *store.MissingError
		if errors.As(err, &missing) {
			from = missing.Range.Last + 1
		} else if !errors.Is(err, errEnough) {
			t.Fatalf("tail: %v", err)
		}
	}
	return first, all
}

// compare says where a view differs from the twin. Postings below floor have been trimmed,
// but for those of rescued messages.
func compare(v *View, want *twin, floor store.Seq, rescued ...store.Seq) error {
	if v.Hash() != want.hash || v.Alive() != want.alive {
		return fmt.Errorf("hash %x, alive %d; want %x, %d", v.Hash(), v.Alive(), want.hash, want.alive)
	}
	var sids []store.SID
	isWanted := func(s *Session) error {
		sids = append(sids, s.SID)
		w := want.sessions[s.SID]
		if w != nil { // what it gave back is not its own
			c := *w
			c.Subs = slices.Clone(w.Subs)
			want.groups.begin(&c)
			w = &c
		}
		if w == nil || !sameSession(s, w) {
			return fmt.Errorf("session %x:\n got %+v\nwant %+v", s.SID[:2], s, w)
		}
		one, err := v.Session(s.SID)
		if err == nil && (one == nil || !sameSession(one, w)) {
			err = fmt.Errorf("session %x alone:\n got %+v\nwant %+v", s.SID[:2], one, w)
		}
		return err
	}
	err := v.Sessions(isWanted) // what Open came by, the first time
	if err == nil {
		sids = nil
		err = v.Sessions(isWanted)
	}
	if err != nil || len(sids) != len(want.sessions) || !slices.IsSortedFunc(sids, func(a, b store.SID) int { return bytes.Compare(a[:], b[:]) }) {
		return fmt.Errorf("sessions: %d, want %d; %w", len(sids), len(want.sessions), err)
	}
	var topics []string
	err = v.Retained(func(seq store.Seq, at int64, m *fact.Message) error {
		key := strings.ReplaceAll(string(m.Topic), "/", "\x00")
		topics = append(topics, key)
		if w := want.retained[key]; w.seq != seq || w.at != at || w.body != string(m.Append(nil)) {
			return fmt.Errorf("retained %q: number %d at %d, want %+v", key, seq, at, w)
		}
		return nil
	})
	if err != nil || !slices.Equal(topics, slices.Sorted(maps.Keys(want.retained))) {
		return fmt.Errorf("retained: %q, %w", topics, err)
	}
	size := int64(0)
	for _, w := range want.retained {
		size += int64(len(w.body))
	}
	if n, sum := v.RetainedCount(); n != len(want.retained) || sum != size {
		return fmt.Errorf("%d retained of %d bytes, want %d of %d", n, sum, len(want.retained), size)
	}
	messages, sums := make(map[fact.AuthorID]int), make(map[fact.AuthorID]int64)
	for _, w := range want.retained {
		var m fact.Message
		if err := m.Decode([]byte(w.body)); err != nil {
			return err
		}
		messages[m.By]++
		sums[m.By] += int64(len(w.body))
	}
	for by := fact.AuthorID(1); by < 4; by++ {
		if n, sum := v.RetainedBy(by); n != messages[by] || sum != sums[by] {
			return fmt.Errorf("%d retained of %d bytes by %d, want %d of %d", n, sum, by, messages[by], sums[by])
		}
	}
	var waits []Delayed
	err = v.Delayed(func(d *Delayed) error { waits = append(waits, *d); return nil })
	if err != nil || len(waits)+len(want.delayed) > 0 && !reflect.DeepEqual(waits, want.delayed) {
		return fmt.Errorf("delayed:\n got %+v, %w\nwant %+v", waits, err, want.delayed)
	}
	for _, k := range []store.Kind{store.Config, store.User, store.Rule, store.Ban, store.Key} {
		got := make(map[string]string)
		if err := v.Values(k, func(name string, content []byte) error { got[name] = string(content); return nil }); err != nil || !maps.Equal(got, want.values[k]) {
			return fmt.Errorf("values of %v: %v, %w; want %v", k, got, err, want.values[k])
		}
	}
	s := v.Stats()
	subs := 0
	for _, w := range want.sessions {
		subs += len(w.Subs)
	}
	if s.Sessions != len(want.sessions) || s.Subscriptions != subs || s.Retained != len(want.retained) {
		return fmt.Errorf("%+v, want %d sessions, %d subscriptions, %d retained", s, len(want.sessions), subs, len(want.retained))
	}
	for id := range fact.FilterID(5) {
		got, there := v.Group(id)
		w, wants := Group{}, want.groups.byID[id]
		if wants != nil {
			w = wants.copy(id)
		}
		if there != (wants != nil) || !reflect.DeepEqual(settled(got), settled(w)) {
			return fmt.Errorf("group %d:\n got %+v\nwant %+v", id, got, w)
		}
		for of := range fact.FilterID(5) {
			start, member := v.Member(id, of)
			if wants == nil || member != (wants.members[of].sid != store.SID{}) || start != wants.members[of].start {
				if wants != nil || member {
					return fmt.Errorf("member %d of group %d: %d, %v", of, id, start, member)
				}
			}
		}
	}
	return comparePostings(v, want, floor, rescued)
}

// settled takes no numbers for no numbers.
func settled(g Group) Group {
	for i := range g.Sources {
		if s := &g.Sources[i]; len(s.Only) == 0 {
			s.Only = nil
		}
		if s := &g.Sources[i]; len(s.Taken) == 0 {
			s.Taken = nil
		}
	}
	return g
}

func comparePostings(v *View, want *twin, floor store.Seq, rescued []store.Seq) error {
	type posted struct {
		id fact.FilterID
		p  Posting
	}
	order := func(a, b posted) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.p.Seq, b.p.Seq)) }
	var got, all []posted
	err := v.Postings(func(id fact.FilterID, p Posting) error {
		if id != looseID {
			got = append(got, posted{id, p})
		}
		return nil
	})
	for id, list := range want.postings {
		for _, p := range list {
			if p.Seq >= floor || slices.Contains(rescued, p.Seq) {
				all = append(all, posted{id, p})
			}
		}
	}
	slices.SortFunc(got, order)
	slices.SortFunc(all, order)
	if err != nil || !slices.Equal(got, all) {
		return fmt.Errorf("postings:\n got %v, %w\nwant %v", got, err, all)
	}
	return nil
}

// sameSession takes no entries for no entries.
func sameSession(a, b *Session) bool {
	x, y := *a, *b
	for _, s := range []*Session{&x, &y} {
		if len(s.Out.Entries) == 0 {
			s.Out.Entries = nil
		}
		if len(s.Subs) == 0 {
			s.Subs = nil
		}
		if len(s.Received) == 0 {
			s.Received = nil
		}
	}
	return reflect.DeepEqual(x, y)
}

// crashable is a folder for the index that can lose power.
func crashable() *vfs.MemFS { return vfs.NewCrashableMem() }
