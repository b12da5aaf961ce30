package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/store"
)

// parts is how many sources the one group there is has.
func (k *keptDesk) parts() int {
	k.t.Helper()
	for _, l := range k.b.lines.all() {
		if g, ok := k.view.Group(l.id); ok {
			return len(g.Sources)
		}
	}
	k.t.Fatal("there is no group")
	return 0
}

// Many members leave with a message each while nobody can take any: the small parts become
// one, whose number is bounded, and nothing is lost or comes twice, also over a crash.
func TestWhatManyMembersLeaveIsOnePart(t *testing.T) {
	for _, crash := range []bool{false, true} {
		k := newKeptDesk(t, 2)
		keeper, pub := k.join(0, "keeper"), k.join(1, "pub")
		k.hears(keeper, jobs, 1)
		keeper.cut()
		k.rest()
		const many = 150
		var members []seat
		for i := range many {
			s := k.join(i%2, fmt.Sprint("u", i), window(1))
			k.hears(s, jobs, 1)
			members = append(members, s)
		}
		k.sayQ(pub, "open/jobs", 1, 1, many)
		for i, s := range members {
			if s.got(1) == "" {
				t.Fatalf("member %d has nothing", i)
			}
			s.h().End(k.now, s.ref)
		}
		k.rest()
		k.pass(11 * time.Second)
		if n := k.parts(); n > partsMax+1 {
			t.Errorf("crash %v: %d parts are left of %d members", crash, n, many)
		}
		if b := k.b.LineBehind(); b.Groups.Messages != many {
			t.Errorf("crash %v: %+v waits", crash, b.Groups)
		}
		if crash {
			k.crash()
			k.rest()
		}
		all := k.drinkAll(k.back("keeper", window(7)))[0]
		seen := make(map[string]bool)
		for _, m := range all {
			seen[m] = true
		}
		if len(all) != many || len(seen) != many {
			t.Errorf("crash %v: had %d, %d of them different", crash, len(all), len(seen))
		}
		k.pass(11 * time.Second)
		k.idle("at the end")
	}
}

// The log has no room when parts are joined: that is tried again, and nothing is lost.
func TestJoiningPartsIsTriedAgain(t *testing.T) {
	k := newKeptDesk(t, 1)
	keeper, pub := k.join(0, "keeper"), k.join(0, "pub")
	k.hears(keeper, jobs, 1)
	keeper.cut()
	var members []seat
	for i := range partsMax + 10 {
		s := k.join(0, fmt.Sprint("u", i), window(1))
		k.hears(s, jobs, 1)
		members = append(members, s)
	}
	k.sayQ(pub, "open/jobs", 1, 1, partsMax+10)
	for _, s := range members {
		s.h().End(k.now, s.ref)
	}
	failed := 0
	for range 20 { // until it is said
		k.turn()
		if k.log.has(store.ShareAck) {
			for k.log.fail(store.ErrFull, false) {
				failed++
			}
			break
		}
		k.commit()
		k.apply()
		k.read()
		k.news()
	}
	if k.rest(); failed == 0 {
		t.Fatal("nothing was joined")
	}
	if n := k.parts(); n != partsMax+11 {
		t.Errorf("%d parts", n)
	}
	k.pass(11 * time.Second)
	if n := k.parts(); n > partsMax+1 {
		t.Errorf("%d parts are left", n)
	}
	got := k.drinkAll(k.back("keeper"))[0]
	slices.Sort(got)
	if len(slices.Compact(got)) != partsMax+10 {
		t.Errorf("had %v", got)
	}
}

// A client that comes, takes a message and goes, again and again, leaves nothing behind.
func TestAMemberThatFlaps(t *testing.T) {
	for _, clean := range []bool{false, true} {
		k := newKeptDesk(t, 2)
		keeper, pub := k.join(0, "keeper"), k.join(1, "pub")
		k.hears(keeper, jobs, 1)
		keeper.cut()
		k.rest()
		a := k.join(1, "a", window(1))
		k.hears(a, jobs, 1)
		for i := 1; i <= 300; i++ {
			k.sayQ(pub, "open/jobs", 1, i, i)
			once(t, "a", i, i, k.drinkAll(a)[0])
			a.cut()
			k.rest()
			if clean {
				a, _ = k.arrive("a", window(1), cleanSeat)
				k.rest()
				k.hears(a, jobs, 1)
			} else {
				a = k.back("a", window(1))
				k.rest()
			}
			if n := k.parts(); n > 2 {
				t.Fatalf("clean %v: %d parts after %d times", clean, n, i)
			}
		}
	}
}

// has tells whether a record of that kind waits to be decided.
func (v *vault) has(kind store.Kind) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.waiting, func(o offered) bool {
		return slices.ContainsFunc(o.recs, func(r store.Record) bool { return r.Kind == kind })
	})
}
