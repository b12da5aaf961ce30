package top

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

var (
	t0   = time.Unix(1_800_000_000, 0) // where a span begins
	home = netip.MustParseAddr("192.0.2.7")
)

func client(name string) *Client {
	return &Client{Identity: "user of " + name, ClientID: name, Username: "u-" + name}
}

// names are the clients of a list with their bounds.
func names(l List) (s string) {
	for _, r := range l.Rows {
		s += fmt.Sprintf("%s %d-%d\n", r.ClientID, r.AtLeast, r.AtMost)
	}
	return s
}

// A figure is never outside its bounds, whoever has more than his part is there, and the
// bounds are as near as the package says: compared with counting everybody.
func TestAgainstCountingEverybody(t *testing.T) {
	for seed := range uint64(20) {
		b, random := NewBook(), rand.New(rand.NewPCG(seed, 1))
		b.Begin(t0)
		rooms := []*Room{b.Room(), b.Room(), b.Room()}
		zipf := rand.NewZipf(random, 1.05+random.Float64(), 1, 5000)
		have, total := map[string]uint64{}, uint64(0)
		for i := range 20_000 {
			name, n := fmt.Sprint("c", zipf.Uint64()), uint64(random.IntN(3)+1)
			now := t0.Add(time.Duration(i) * time.Millisecond * 2) // over a span and a half
			rooms[random.IntN(3)].Add(now, client(name), home, "tls", &Counts{Messages: uint32(n)})
			have[name] += n
			total += n
		}
		l := b.Top(t0.Add(45*time.Second), Messages, ByClient, 1<<20)
		if l.Total != total {
			t.Fatalf("seed %d: total %d, want %d", seed, l.Total, total)
		}
		shown := map[string]bool{}
		for _, r := range l.Rows {
			shown[r.ClientID] = true
			if n := have[r.ClientID]; n < r.AtLeast || n > r.AtMost {
				t.Fatalf("seed %d: %s has %d, said %d to %d", seed, r.ClientID, n, r.AtLeast, r.AtMost)
			}
			if r.AtMost-r.AtLeast > total/places {
				t.Errorf("seed %d: %s has %d to %d of %d: more than a 128th apart", seed, r.ClientID, r.AtLeast, r.AtMost, total)
			}
		}
		for name, n := range have {
			if n > total/places && !shown[name] {
				t.Errorf("seed %d: %s is missing with %d of %d", seed, name, n, total)
			}
		}
	}
}

// Where there are no more names than places every figure is exact.
func TestFewAreExact(t *testing.T) {
	b := NewBook()
	b.Begin(t0)
	one, other := b.Room(), b.Room()
	for i := range places {
		one.Add(t0, client(fmt.Sprint("c", i)), home, "tls", &Counts{Messages: 1})
	}
	for range 5 {
		one.Add(t0, client("c7"), home, "tls", &Counts{Messages: 2, Bytes: 100})
		other.Add(t0, client("c9"), home, "tls", &Counts{Messages: 1})
	}
	l := b.Top(t0, Messages, ByClient, 3)
	if got := names(l); !strings.HasPrefix(got, "c7 11-11\nc9 6-6\n") || l.Total != places+15 || len(l.Rows) != 3 {
		t.Errorf("of %d:\n%s", l.Total, got)
	}
	if l := b.Top(t0, Messages, ByNetwork, 10); len(l.Rows) != 1 || l.Rows[0].AtLeast != places+15 || l.Rows[0].Network.String() != "192.0.2.0/24" || l.Rows[0].ClientID != "" {
		t.Errorf("by network: %+v", l)
	}
	if l := b.Top(t0, Bytes, ByUser, 10); len(l.Rows) != 1 || l.Rows[0].AtMost != 500 || l.Rows[0].Username != "u-c7" || l.Rows[0].ClientID != "" {
		t.Errorf("by user: %+v", l)
	}
}

// A million names that come once cost a fixed amount, and hide nobody who does more.
func TestAMillionNames(t *testing.T) {
	b := NewBook()
	b.Begin(t0)
	r, comes := b.Room(), testkit.Seeds(100_000, 1_000_000)
	for i := range comes {
		name := fmt.Sprint("x", i)
		r.Add(t0, client(name), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "tls", &Counts{Connects: 1})
		b.Stranger(t0, netip.AddrFrom4([4]byte{11, byte(i >> 12), byte(i >> 4), 1}), "tls", Refused)
		if i%20 == 0 {
			r.Add(t0, client("loud"), home, "tls", &Counts{Connects: 1})
		}
	}
	if l := b.Top(t0, Connects, ByClient, 1); l.Rows[0].ClientID != "loud" || l.Rows[0].AtLeast < uint64(comes/25) || l.Rows[0].AtMost > uint64(comes*3/50) {
		t.Errorf("%d of %d:\n%s", comes/20, comes+comes/20, names(l))
	}
	sketches := 0
	for _, room := range b.rooms {
		for _, table := range []*table{&room.now, &room.last} {
			for by := range table {
				for _, s := range table[by] {
					if s != nil {
						sketches++
					}
				}
			}
		}
	}
	if size := unsafe.Sizeof(sketch{}); sketches != 4 || size > 32_000 { // 3 of connects, 1 of strangers
		t.Errorf("%d sketches of %d bytes", sketches, size)
	}
}

// Who is first is who has most for certain: a name that came last inherits a large bound, and
// must not push aside somebody who has earned his place.
func TestWhoCameLastIsNotFirst(t *testing.T) {
	b := NewBook()
	r := b.Room()
	r.Add(t0, client("steady"), home, "tls", &Counts{Messages: 500})
	for i := range 4*places + 20 { // each place goes up to 400 or 500
		r.Add(t0, client(fmt.Sprint("x", i)), home, "tls", &Counts{Messages: 100})
	}
	r.Add(t0, client("victim"), home, "tls", &Counts{Messages: 150})
	if l := b.Top(t0, Messages, ByClient, 1); l.Rows[0].ClientID != "steady" {
		t.Errorf("first is:\n%s", names(l))
	}
}

// Whoever has to go has least, whatever the others have got since, and a sketch that was used
// before is as a new one.
func TestVictimHasLeast(t *testing.T) {
	random, s := rand.New(rand.NewPCG(7, 7)), &sketch{}
	for round := range 5 {
		for i := range 5000 {
			s.add(random.Uint64()%(uint64(round)*100+150), &Who{}, random.Uint64()%1000+1)
			if s.n < places {
				continue
			}
			if got, want := s.most[s.victim()], slices.Min(s.most[:]); got != want {
				t.Fatalf("round %d, after %d: the one that goes has %d, somebody has %d", round, i, got, want)
			}
		}
		s.clear()
	}
}

// What was is forgotten between half a minute and a minute later, also if nothing comes, and
// if the clock is set.
func TestAgeing(t *testing.T) {
	b := NewBook()
	b.Begin(t0)
	r := b.Room()
	add := func(at time.Duration, name string) {
		r.Add(t0.Add(at), client(name), home, "tls", &Counts{Messages: 1})
	}
	see := func(at time.Duration, window time.Duration, want string) {
		t.Helper()
		l := b.Top(t0.Add(at), Messages, ByClient, 10)
		if got := strings.ReplaceAll(names(l), "\n", " "); got != want || l.Window != window {
			t.Errorf("after %v: %q in %v, want %q in %v", at, got, l.Window, want, window)
		}
	}
	see(0, time.Second, "")
	add(0, "a")
	see(20*time.Second, 20*time.Second, "a 1-1 ")
	add(40*time.Second, "b")
	see(59*time.Second, 59*time.Second, "a 1-1 b 1-1 ")
	add(29*time.Second, "c") // a loop whose clock is a little behind
	see(60*time.Second, 30*time.Second, "b 1-1 c 1-1 ")
	see(89*time.Second, 59*time.Second, "b 1-1 c 1-1 ")
	see(90*time.Second, 30*time.Second, "")
	add(91*time.Second, "d")
	see(10*time.Minute, 30*time.Second, "") // nothing came, and nobody asked
	add(10*time.Minute, "e")
	add(time.Minute, "f") // set back
	see(time.Minute, 30*time.Second, "f 1-1 ")
}

// Nothing of a stranger is kept but where he is, and one address is told from a network.
func TestStrangers(t *testing.T) {
	b := NewBook()
	at := func(a string) { b.Stranger(t0, netip.MustParseAddr(a), "tls", Logins) }
	at("198.51.100.1")
	at("::ffff:198.51.100.1")
	at("2001:db8:0:1::1")
	at("2001:db8:0:2::2")
	at("2001:db8:0:100::1")
	b.Stranger(t0, netip.Addr{}, "local", Logins)
	got := ""
	for _, r := range b.Top(t0, Logins, ByNetwork, 10).Rows {
		got += fmt.Sprintf("%v %v several=%v %s %d\n", r.Network, r.Addr, r.Several, r.Listener, r.AtLeast)
	}
	if want := "198.51.100.0/24 198.51.100.1 several=false tls 2\n2001:db8::/56 2001:db8:0:1::1 several=true tls 2\n" +
		"invalid Prefix invalid IP several=false local 1\n2001:db8:0:100::/56 2001:db8:0:100::1 several=false tls 1\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, by := range []By{ByClient, ByUser} {
		if l := b.Top(t0, Logins, by, 10); len(l.Rows) != 0 || l.Total != 6 {
			t.Errorf("by %v: %+v", by, l)
		}
	}
}

// The address that most of a network's comes from is there, over rooms and spans, whoever
// else comes from there last, and what is said of it is never too much.
func TestOneOfANetwork(t *testing.T) {
	for seed := range uint64(20) {
		b, random := NewBook(), rand.New(rand.NewPCG(seed, 2))
		room := b.Room()
		loud, have := netip.MustParseAddr("198.51.100.3"), map[netip.Addr]uint64{}
		for i := range 4000 {
			from := netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + random.IntN(200))})
			if i%10 < 7 {
				from = loud
			}
			now := t0.Add(time.Duration(i) * 10 * time.Millisecond)
			if random.IntN(2) == 0 {
				b.Stranger(now, from, "tls", Logins)
				have[from]++
			} else {
				n := random.Uint32()%3 + 1
				room.Add(now, client("c"), from, "tls", &Counts{Logins: n})
				have[from] += uint64(n)
			}
		}
		row := b.Top(t0.Add(40*time.Second), Logins, ByNetwork, 10).Rows[0]
		if row.Addr != loud || !row.Several || row.FromAddr > have[loud] || row.FromAddr < row.AtLeast/4 {
			t.Errorf("seed %d: %v has at least %d of %d-%d; %v has %d", seed, row.Addr, row.FromAddr, row.AtLeast, row.AtMost, loud, have[loud])
		}
	}
}

// Two long names that begin alike are two, and neither is kept whole.
func TestLongNames(t *testing.T) {
	b := NewBook()
	r := b.Room()
	long := strings.Repeat("é", NameMax)
	for _, end := range []string{"a", "b"} {
		r.Add(t0, &Client{Identity: long + end, ClientID: "x" + long + end, Username: long, Mountpoint: long}, home, "tls", &Counts{Messages: 1})
	}
	l := b.Top(t0, Messages, ByClient, 10)
	if len(l.Rows) != 2 {
		t.Fatalf("%d rows, want 2", len(l.Rows))
	}
	for _, row := range l.Rows {
		if !row.Cut || len(row.Identity) > NameMax || len(row.ClientID) > NameMax || len(row.Username) > NameMax || len(row.Mountpoint) > NameMax || strings.Contains(row.ClientID, "�") {
			t.Errorf("kept: %v, %d, %d, %d and %d bytes", row.Cut, len(row.Identity), len(row.ClientID), len(row.Username), len(row.Mountpoint))
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	book := NewBook()
	r := book.Room()
	clients := make([]*Client, 4096)
	for i := range clients {
		clients[i] = client(fmt.Sprint("c", i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Add(t0, clients[i%len(clients)], home, "tls", &Counts{Messages: 1, Bytes: 100, Packets: 1})
	}
}

// BenchmarkAddOddCounts is a crowd that all comes in turn, each time with other counts: whoever
// comes takes the place of another, of whom there is no other like him.
func BenchmarkAddOddCounts(b *testing.B) {
	book, random := NewBook(), rand.New(rand.NewPCG(1, 1))
	r := book.Room()
	clients := make([]*Client, 4096)
	for i := range clients {
		clients[i] = client(fmt.Sprint("c", i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := random.Uint32()%1000 + 1
		r.Add(t0, clients[i%len(clients)], home, "tls", &Counts{Messages: n, Bytes: uint64(n) * 71, Packets: n + 3})
	}
}
