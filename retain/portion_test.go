package retain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// shelf is rows that follow when the test says so.
type shelf struct {
	now     map[string]shelved // what the rows say
	behind  []change           // what they do not say yet
	reached uint64
	reads   int
	meet    func() // what happens while somebody reads
}

type shelved struct {
	version uint64
	payload string
	expires int64
}

type change struct {
	topic string
	shelved
	only uint64 // of a withdrawal
}

func (c *change) apply(to map[string]shelved) {
	switch {
	case c.only != 0 && to[c.topic].version != c.only:
	case c.payload == "":
		delete(to, c.topic)
	default:
		to[c.topic] = c.shelved
	}
}

func (r *shelf) follow(n int) {
	for ; n > 0 && len(r.behind) > 0; n-- {
		c := r.behind[0]
		r.behind = r.behind[1:]
		c.apply(r.now)
		r.reached = c.version
	}
}

func (r *shelf) Reached() uint64 { return r.reached }

func (r *shelf) Count() (n int, bytes int64) {
	for name, s := range r.now {
		n, bytes = n+1, bytes+int64(len(name)+len(s.payload))
	}
	return n, bytes
}

func (r *shelf) Walk(atLeast uint64, from []byte, fn func(Row) ([]byte, bool, error)) (uint64, error) {
	for r.reached < atLeast {
		r.follow(1)
	}
	r.reads++
	asOf := r.reached
	var names []string
	rows := make(map[string]shelved)
	for name, s := range r.now {
		names, rows[name] = append(names, name), s
	}
	if r.meet != nil {
		r.meet()
	}
	slices.SortFunc(names, func(a, b string) int { return compare([]byte(a), []byte(b)) })
	at := slices.Clone(from)
	for _, name := range names {
		if compare([]byte(name), at) < 0 {
			continue
		}
		next, done, err := fn(shelfRow{name, rows[name]})
		if done || err != nil {
			return asOf, err
		}
		if next != nil {
			at = slices.Clone(next)
		}
	}
	return asOf, nil
}

type shelfRow struct {
	name string
	s    shelved
}

func (r shelfRow) Name() []byte { return []byte(r.name) }

func (r shelfRow) Frame() (*mqtt.Frame, error) {
	f := frame(r.name, r.s.payload, r.s.expires)
	f.Version = r.s.version
	return f, nil
}

// shelfStore is a store with rows, and what it must hold.
type shelfStore struct {
	*Store
	rows  *shelf
	truth map[string]shelved
	seq   uint64
}

func newShelfStore(memory int64) *shelfStore {
	r := &shelf{now: make(map[string]shelved)}
	return &shelfStore{Store: New(Options{MessagesMax: -1, BytesMax: -1, Rows: r, MemoryMax: memory}), rows: r, truth: make(map[string]shelved)}
}

// say is a record of the log: a message, or with no payload the removal of one.
func (s *shelfStore) say(name, payload string, expires int64) {
	s.seq++
	c := change{topic: name, shelved: shelved{s.seq, payload, expires}}
	f := frame(name, payload, expires)
	s.Restore(f, s.seq)
	f.Release()
	c.apply(s.truth)
	s.rows.behind = append(s.rows.behind, c)
}

func (s *shelfStore) withdraw(name string, only uint64) {
	s.seq++
	c := change{topic: name, shelved: shelved{version: s.seq}, only: only}
	s.Withdraw([]byte(name), s.seq, only)
	c.apply(s.truth)
	s.rows.behind = append(s.rows.behind, c)
}

// walker walks step by step.
type walker struct {
	filter string
	cur    Cursor
	p      *Portion
	over   bool
	upTo   uint64
	seen   map[string]string
}

// step does a step of at most max, and answers what is wrong with it.
func (w *walker) step(s *shelfStore, now time.Time, max int) error {
	var wrong error
	stop := max
	switch s.Step(now, w.filter, &w.cur, &w.p, max+1, func(f *mqtt.Frame) bool {
		if stop == 0 {
			return false
		}
		stop--
		name := string(f.Topic())
		if f.Version > w.upTo {
			return true // comes live
		}
		if is := s.truth[name]; is.payload != string(f.Payload()) || is.version != f.Version {
			wrong = fmt.Errorf("%s: %s of version %d, but it is %+v", name, f.Payload(), f.Version, is)
		}
		if _, twice := w.seen[name]; twice {
			wrong = fmt.Errorf("%s comes twice", name)
		}
		w.seen[name] = string(f.Payload())
		return true
	}) {
	case Over:
		w.over = true
	case Away:
		var err error
		if w.p, err = s.Read(now, w.filter, w.cur, 3); err != nil {
			return err
		}
	}
	return wrong
}

// Whatever leaves memory and however far the rows are behind, a walk brings what is
// retained when it comes by, nothing that is not any more, and nothing twice.
func TestAWalkIsRightWhateverIsInMemory(t *testing.T) {
	names := []string{"a", "a/b", "a/b/c", "a/c", "b", "b/c", "$x/a", "a/d/e", "a/d/f", "c", "c/b", "d"}
	filters := []string{"#", "a/#", "+", "+/b", "a/+/+", "a/b", "c", "none", "$x/#", "+/c"}
	for range 20 { // what goes wrong needs several things at once
		rapid.Check(t, func(t *rapid.T) { walkAtRandom(t, names, filters) })
	}
}

func walkAtRandom(t *rapid.T, names, filters []string) {
	s := newShelfStore(int64(rapid.SampledFrom([]int{0, 300, 700, 1500, 100_000}).Draw(t, "memory")))
	now := int64(1000)
	var walks []*walker
	untouched := make(map[*walker]map[string]bool) // what was there all the time
	act := func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "name")
		for _, u := range untouched {
			delete(u, name)
		}
		switch rapid.IntRange(0, 9).Draw(t, "act") {
		case 0, 1:
			s.say(name, "", 0)
		case 2:
			s.withdraw(name, s.truth[name].version)
		case 3:
			s.withdraw(name, 1)
		case 4:
			s.say(name, fmt.Sprint("v", s.seq), now+int64(rapid.IntRange(1, 30).Draw(t, "ttl")))
		default:
			s.say(name, fmt.Sprint("v", s.seq), 0)
		}
	}
	pass := func(d int64) {
		now += d
		for name, is := range s.truth {
			if is.expires != 0 && is.expires <= now {
				delete(s.truth, name)
				for _, u := range untouched {
					delete(u, name)
				}
			}
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"act":    act,
		"act2":   act,
		"follow": func(t *rapid.T) { s.rows.follow(rapid.IntRange(1, 5).Draw(t, "n")) },
		"pass":   func(t *rapid.T) { pass(int64(rapid.IntRange(1, 5).Draw(t, "ms"))) },
		"sweep":  func(*rapid.T) { s.Sweep(at(now), 2) },
		"learn": func(t *rapid.T) {
			if err := s.Learn(at(now), rapid.SampledFrom(names).Draw(t, "name")); err != nil {
				t.Fatal(err)
			}
		},
		"refill": func(t *rapid.T) {
			if _, err := s.Refill(at(now), rapid.IntRange(1, 6).Draw(t, "n")); err != nil {
				t.Fatal(err)
			}
		},
		"meet": func(t *rapid.T) { // the next reader is overtaken
			s.rows.meet = func() {
				s.rows.meet = nil
				for range 2 {
					act(t)
					s.rows.follow(2)
				}
			}
		},
		"walk": func(t *rapid.T) {
			w := &walker{filter: rapid.SampledFrom(filters).Draw(t, "filter"), upTo: s.Version(), seen: make(map[string]string)}
			walks, untouched[w] = append(walks, w), make(map[string]bool)
			for name := range s.truth {
				untouched[w][name] = topic.Match(w.filter, []byte(name))
			}
		},
		"step": func(t *rapid.T) {
			for i, w := range walks {
				if err := w.step(s, at(now), rapid.IntRange(0, 3).Draw(t, "max")); err != nil {
					t.Fatalf("%s: %v", w.filter, err)
				}
				if !w.over {
					continue
				}
				for name, matches := range untouched[w] {
					if _, seen := w.seen[name]; matches && !seen {
						t.Fatalf("%s did not bring %s", w.filter, name)
					}
				}
				delete(untouched, w)
				walks = slices.Delete(walks, i, i+1)
				break
			}
		},
		"": func(t *rapid.T) {
			s.shed()
			limit := s.opt.MemoryMax
			for _, b := range s.topics.blocks { // what has no row yet stays
				for _, e := range b.items {
					if e.f.Version > s.rows.reached {
						limit += sizeOf(e.f)
					}
				}
			}
			if limit < s.bytes {
				t.Fatalf("%d bytes in memory, the limit is %d", s.bytes, s.opt.MemoryMax)
			}
		},
	})
	for _, w := range walks {
		w.p.Release()
	}
	if held := s.held.Load(); held != 0 {
		t.Fatalf("portions that are gone hold %d bytes", held)
	}
}

// A large store takes a bounded memory, finds what it has, and is whole again when it
// fits.
func TestTheStoreLeavesMemoryAndComesBack(t *testing.T) {
	s := newShelfStore(100 << 10)
	if more, err := s.Refill(at(1), 10); more || err != nil || !s.complete {
		t.Fatalf("an empty store is not whole: %v", err)
	}
	for i := range 5000 {
		s.say(fmt.Sprintf("dev/%04d/state", i), "on", 0)
		s.rows.follow(10)
	}
	n, bytes, all := s.InMemory()
	if messages, _ := s.Stats(); messages != 5000 || all || bytes > 100<<10 || n < 300 {
		t.Errorf("%d messages, of which %d with %d bytes in memory, %v", messages, n, bytes, all)
	}
	for i := range 2 { // what was asked for once is in memory
		reads := s.rows.reads
		w := &walker{filter: "dev/0017/state", upTo: s.Version(), seen: map[string]string{}}
		for !w.over {
			if err := w.step(s, at(1), 10); err != nil {
				t.Fatal(err)
			}
		}
		if w.seen["dev/0017/state"] != "on" {
			t.Errorf("found %v", w.seen)
		}
		if reads = s.rows.reads - reads; reads > 1-i {
			t.Errorf("%d reads the time %d", reads, i)
		}
	}
	if more, _ := s.Refill(at(1), 1000); more || s.complete {
		t.Error("it is whole though it does not fit")
	}
	for i := range 4900 {
		s.say(fmt.Sprintf("dev/%04d/state", i), "", 0)
		s.rows.follow(10)
	}
	for more := true; more; {
		var err error
		if more, err = s.Refill(at(1), 7); err != nil {
			t.Fatal(err)
		}
	}
	reads := s.rows.reads
	if got, _ := all2(s.Store, "#"); !s.complete || len(got) != 100 || s.rows.reads != reads {
		t.Errorf("%d messages, %d reads, whole: %v", len(got), s.rows.reads-reads, s.complete)
	}
	if n, bytes := s.Stats(); n != 100 || bytes != s.bytes {
		t.Errorf("%d messages of %d bytes", n, bytes)
	}
}

func all2(s *Store, filter string) (got []string, calls int) { return all(s, at(1), filter, 10) }

// At its limits the store knows a message that takes the place of one on disk from one
// that comes on top, once it has looked.
func TestRoomKnowsWhatIsOnDisk(t *testing.T) {
	s := newShelfStore(1000)
	s.opt.MessagesMax = 100
	for i := range 100 {
		s.say(fmt.Sprint("t/", i), "x", 0)
		s.rows.follow(10)
	}
	for name, want := range map[string]bool{"t/1": true, "t/2": true, "new": false} {
		f := frame(name, "y")
		if s.Unsure([]byte(name), 1) {
			if err := s.Learn(at(1), name); err != nil || s.Unsure([]byte(name), 1) {
				t.Errorf("%s: still unsure, %v", name, err)
			}
		}
		if got := s.Room(f); got != want {
			t.Errorf("room for %s: %v", name, got)
		}
	}
	s.opt.MessagesMax = 1000
	if s.Unsure([]byte("other"), 1) {
		t.Error("unsure though there is room for everything")
	}
	if strings.Contains(fmt.Sprint(s.stones), "t/") {
		t.Errorf("remembered as gone: %v", s.stones)
	}
}
