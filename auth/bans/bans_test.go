package bans

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/auth"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// vault is a Keeper in memory.
type vault struct {
	kept map[string][]byte
	err  error
}

func (v *vault) Bans(fn func(name string, content []byte) error) error {
	for n, c := range v.kept {
		if err := fn(n, c); err != nil {
			return err
		}
	}
	return nil
}

func (v *vault) Write(values ...Kept) error {
	if v.err != nil {
		return v.err
	}
	for _, k := range values {
		if k.Content == nil {
			delete(v.kept, k.Name)
		} else {
			v.kept[k.Name] = k.Content
		}
	}
	return nil
}

func open(t testing.TB) (*Bans, *vault) {
	t.Helper()
	v := &vault{kept: map[string][]byte{}}
	b, err := Open(v)
	if err != nil {
		t.Fatal(err)
	}
	return b, v
}

func ban(t testing.TB, as As, who string, change ...func(*Ban)) *Ban {
	t.Helper()
	b := &Ban{As: as, Who: who, At: noon.Unix(), By: "test"}
	for _, c := range change {
		c(b)
	}
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	return b
}

func until(at time.Time) func(*Ban)     { return func(b *Ban) { b.Until = at.Unix() } }
func within(identity string) func(*Ban) { return func(b *Ban) { b.Identity = identity } }

func client(id, user, addr string) *auth.Principal {
	p := &auth.Principal{ClientID: id, Username: user, Identity: user}
	if addr != "" {
		p.Addr = netip.MustParseAddr(addr)
	}
	return p
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		ban      *Ban
		hit, not []*auth.Principal
	}{
		{ban(t, ClientID, "pump"), []*auth.Principal{client("pump", "a", "192.0.2.1"), client("pump", "b", "")}, []*auth.Principal{client("pump2", "pump", "192.0.2.1")}},
		{ban(t, ClientID, "pump", within("a")), []*auth.Principal{client("pump", "a", "192.0.2.1")}, []*auth.Principal{client("pump", "b", "192.0.2.1"), client("x", "a", "192.0.2.1")}},
		{ban(t, Username, "bob"), []*auth.Principal{client("x", "bob", "")}, []*auth.Principal{client("bob", "x", ""), client("x", "", "")}},
		{ban(t, Peerhost, "192.0.2.7"), []*auth.Principal{client("x", "y", "192.0.2.7"), client("x", "y", "::ffff:192.0.2.7")}, []*auth.Principal{client("x", "y", "192.0.2.8"), client("192.0.2.7", "192.0.2.7", "")}},
		{ban(t, Peerhost, "fe80::1%eth0"), []*auth.Principal{client("x", "y", "fe80::1%eth1"), client("x", "y", "fe80::1")}, []*auth.Principal{client("x", "y", "fe80::2")}},
		{ban(t, PeerhostNet, "192.0.2.0/24"), []*auth.Principal{client("x", "y", "192.0.2.255"), client("x", "y", "::ffff:192.0.2.1")}, []*auth.Principal{client("x", "y", "192.0.3.0"), client("x", "y", "2001:db8::1")}},
		{ban(t, PeerhostNet, "::ffff:192.0.2.0/120"), []*auth.Principal{client("x", "y", "192.0.2.255")}, []*auth.Principal{client("x", "y", "192.0.3.0")}},
		{ban(t, PeerhostNet, "2001:db8::/32"), []*auth.Principal{client("x", "y", "2001:db8:1::1")}, []*auth.Principal{client("x", "y", "2001:db9::1"), client("x", "y", "192.0.2.1")}},
		{ban(t, ClientIDRe, "^evil-[0-9]+$"), []*auth.Principal{client("evil-7", "y", "")}, []*auth.Principal{client("evil-", "evil-7", ""), client("an evil-7", "y", "")}},
		{ban(t, ClientIDRe, "evil"), []*auth.Principal{client("an evil one", "y", "")}, []*auth.Principal{client("good", "evil", "")}},
		{ban(t, UsernameRe, "^guest"), []*auth.Principal{client("x", "guest9", "")}, []*auth.Principal{client("guest9", "x", ""), client("x", "", "")}},
	} {
		b, _ := open(t)
		if _, err := b.Add([]*Ban{c.ban}, nil); err != nil {
			t.Fatal(err)
		}
		for _, p := range c.hit {
			if b.Judge(noon, p) != c.ban {
				t.Errorf("%v %s does not keep out %+v", c.ban.As, c.ban.Who, p)
			}
		}
		for _, p := range c.not {
			if got := b.Judge(noon, p); got != nil {
				t.Errorf("%v %s keeps out %+v", c.ban.As, c.ban.Who, p)
			}
		}
	}
	var none *Bans
	if none.Judge(noon, client("x", "y", "")) != nil || none.Address(noon, netip.MustParseAddr("192.0.2.1")) != nil {
		t.Error("no bans at all keep somebody out")
	}
}

// A ban that is over keeps nobody out, and hides none that lasts.
func TestWhatIsOver(t *testing.T) {
	b, v := open(t)
	soon, later := noon.Add(time.Minute), noon.Add(time.Hour)
	list := []*Ban{ban(t, ClientID, "pump", until(soon)), ban(t, ClientID, "pump", within("u"), until(later)),
		ban(t, PeerhostNet, "192.0.2.0/25", until(soon)), ban(t, PeerhostNet, "192.0.2.0/24", until(later)), ban(t, Peerhost, "192.0.2.1", until(soon))}
	if _, err := b.Add(list, nil); err != nil {
		t.Fatal(err)
	}
	p, a := client("pump", "u", ""), netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		at       time.Time
		id, addr *Ban
	}{{noon, list[0], list[4]}, {soon.Add(-1), list[0], list[4]}, {soon, list[1], list[3]}, {later, nil, nil}} {
		if got := b.Judge(c.at, p); got != c.id {
			t.Errorf("at %v the client is kept out by %v", c.at, got)
		}
		if got := b.Address(c.at, a); got != c.addr {
			t.Errorf("at %v the address is kept out by %v", c.at, got)
		}
	}
	if n, err := b.Purge(soon, 100); n != 3 || err != nil || len(v.kept) != 2 {
		t.Errorf("purged %d, %v; %d are left", n, err, len(v.kept))
	}
	if b.Address(soon, a) != list[3] || b.Judge(soon, p) != list[1] {
		t.Error("the purge took too much")
	}
	v.err = errors.New("disk full")
	if n, err := b.Purge(later, 100); n != 0 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
	v.err = nil
	if n, _ := b.Purge(later, 1); n != 1 {
		t.Errorf("purged %d, want no more than it may", n)
	}
}

func TestReplaceDeleteAndReopen(t *testing.T) {
	b, v := open(t)
	first := ban(t, PeerhostNet, "192.0.2.0/24")
	pattern := ban(t, ClientIDRe, "^x")
	scoped := ban(t, ClientID, "pump", within("u"))
	if _, err := b.Add([]*Ban{first, pattern, scoped, ban(t, ClientID, "pump")}, nil); err != nil {
		t.Fatal(err)
	}
	second := ban(t, PeerhostNet, "192.0.2.0/24", func(b *Ban) { b.Reason = "again" })
	told := false
	replaced, err := b.Add([]*Ban{second}, func(old []*Ban) {
		told = len(old) == 1 && old[0] == first && b.Judge(noon, client("a", "b", "192.0.2.1")) == first
	})
	if err != nil || len(replaced) != 1 || !told || b.Judge(noon, client("a", "b", "192.0.2.1")) != second {
		t.Errorf("%v, %v, %v", replaced, err, told)
	}
	if _, err := b.Add([]*Ban{ban(t, ClientIDRe, "^x")}, nil); err != nil || len(b.kept.patterns) != 1 {
		t.Errorf("%d patterns, %v", len(b.kept.patterns), err)
	}

	again, err := Open(v)
	if err != nil || again.Judge(noon, client("a", "b", "192.0.2.1")).Reason != "again" || again.Judge(noon, client("xy", "b", "")) == nil {
		t.Fatalf("after a restart: %v", err)
	}
	if _, err := again.Delete(noon, Wanted{As: ClientID, Who: "pump"}, nil); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("two fit: %v", err)
	}
	u, anybody := "u", ""
	for _, w := range []Wanted{{As: ClientID, Who: "pump", Identity: &u}, {As: ClientID, Who: "pump", Identity: &anybody}, {As: PeerhostNet, Who: "192.0.2.0/24"}, {As: ClientIDRe, Who: "^x"}} {
		if _, err := again.Delete(noon, w, nil); err != nil {
			t.Errorf("%+v: %v", w, err)
		}
		if _, err := again.Delete(noon, w, nil); !errors.Is(err, ErrUnknown) {
			t.Errorf("%+v again: %v", w, err)
		}
	}
	if len(v.kept) != 0 || again.Counts() != [sourceEnd]int64{} || again.Judge(noon, client("xy", "u", "192.0.2.1")) != nil {
		t.Errorf("left: %v", v.kept)
	}
	v.kept["odd"] = []byte(`{"v":2,"as":"clientid","who":"x","at":1}`)
	if _, err := Open(v); err == nil || !strings.Contains(err.Error(), `ban "odd" cannot be read`) {
		t.Errorf("a ban of a later version: %v", err)
	}
}

// What cannot be kept is not in force.
func TestNotKept(t *testing.T) {
	b, v := open(t)
	v.err = errors.New("disk full")
	var kept *KeepError
	if _, err := b.Add([]*Ban{ban(t, ClientID, "x")}, func([]*Ban) { t.Error("told") }); !errors.As(err, &kept) || b.Judge(noon, client("x", "", "")) != nil {
		t.Errorf("%v", err)
	}
	v.err = nil
	_, _ = b.Add([]*Ban{ban(t, ClientID, "x")}, nil)
	v.err = errors.New("disk full")
	if _, err := b.Delete(noon, Wanted{As: ClientID, Who: "x"}, nil); !errors.As(err, &kept) || b.Judge(noon, client("x", "", "")) == nil {
		t.Errorf("%v", err)
	}
}

func TestBansOfTheFile(t *testing.T) {
	b, _ := open(t)
	b.SetFile([]*Ban{ban(t, ClientID, "filed")})
	if b.Judge(noon, client("filed", "", "")) == nil {
		t.Error("the file counts for nothing")
	}
	if _, err := b.Add([]*Ban{ban(t, ClientID, "other"), ban(t, ClientID, "filed")}, nil); !errors.Is(err, ErrFile) || b.Judge(noon, client("other", "", "")) != nil {
		t.Errorf("added over the file: %v", err)
	}
	if _, err := b.Delete(noon, Wanted{As: ClientID, Who: "filed"}, nil); !errors.Is(err, ErrFile) {
		t.Errorf("deleted from the file: %v", err)
	}
	if fresh := b.SetFile([]*Ban{ban(t, ClientID, "filed"), ban(t, ClientID, "new")}); fresh.Len() != 1 || fresh.Judge(noon, client("new", "", "")) == nil {
		t.Errorf("%d bans are new", fresh.Len())
	}
	b.SetFile(nil)
	if b.Judge(noon, client("filed", "", "")) != nil {
		t.Error("a ban that left the file is still there")
	}
}

// All three have to be the same: who shares less with a flapping client is let in (A058).
func TestFlappingHitsNobodyElse(t *testing.T) {
	b, v := open(t)
	made := b.Flapped(noon, client("pump", "u", "192.0.2.1"), time.Minute, "16 connects in a minute")
	if b.Judge(noon, client("pump", "u", "192.0.2.200")) != made || made.By != "flapping" || len(v.kept) != 0 {
		t.Errorf("not banned, or in the log: %+v", made)
	}
	for what, p := range map[string]*auth.Principal{
		"another identity with this client id behind the same address": client("pump", "v", "192.0.2.1"),
		"the same identity and client id from elsewhere":               client("pump", "u", "198.51.100.1"),
		"another client of the identity behind the same address":       client("valve", "u", "192.0.2.1"),
		"over a unix socket": client("pump", "u", ""),
	} {
		if b.Judge(noon, p) != nil {
			t.Error(what + " is kept out")
		}
	}
	if b.Address(noon, netip.MustParseAddr("192.0.2.1")) != nil {
		t.Error("the address is kept out")
	}
	if b.Judge(noon.Add(time.Minute), client("pump", "u", "192.0.2.1")) != nil {
		t.Error("it never ends")
	}
	if b.Flapped(noon, client("pump", "u", ""), time.Minute, "") != nil {
		t.Error("without an address all that is left is names")
	}
	if _, err := b.Delete(noon, Wanted{As: ClientID, Who: "pump"}, nil); err != nil || b.Judge(noon, client("pump", "u", "192.0.2.1")) != nil {
		t.Errorf("deleted: %v", err)
	}
	for i := range FlappingMax + 100 {
		b.Flapped(noon.Add(time.Duration(i)*time.Second), client(fmt.Sprint(i), "u", "192.0.2.1"), time.Hour, "")
	}
	if n := b.flapping.len(); n != FlappingMax {
		t.Errorf("%d bans for flapping", n)
	}
	b.flapping.purge(noon.Add(100 * time.Hour))
	if b.flapping.len() != 0 {
		t.Error("they stay for ever")
	}
}

// Who wants to ban a client with a very long identifier is told how, and a pattern does it.
func TestLongNameIsBannedByAPattern(t *testing.T) {
	long := "pump-" + strings.Repeat("x", 65_530)
	b := &Ban{As: ClientID, Who: long}
	if err := b.Check(); err == nil || !strings.Contains(err.Error(), "has 65535 bytes, at most 1024 are taken") || !strings.Contains(err.Error(), "as a pattern such as ^pump-") {
		t.Errorf("%v", err)
	}
	p := &Ban{As: ClientIDRe, Who: "^pump-"}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	if SetOf([]*Ban{p}).Judge(noon, &auth.Principal{ClientID: long}) != p {
		t.Error("the pattern does not hit it")
	}
}

func TestCheckRefuses(t *testing.T) {
	long := strings.Repeat("x", WhoBytesMax+1)
	for _, b := range []Ban{
		{As: ClientID}, {As: ClientID, Who: long}, {As: ClientID, Who: "a\x00b"}, {As: ClientID, Who: "\xff"}, {As: Username, Who: "x", Identity: "y"},
		{As: ClientID, Who: "x", Reason: long}, {As: Peerhost, Who: "192.0.2.0/24"}, {As: Peerhost, Who: "host.example"}, {As: PeerhostNet, Who: "192.0.2.1"},
		{As: PeerhostNet, Who: "192.0.2.1/24"}, {As: PeerhostNet, Who: "::ffff:0:0/90"}, {As: ClientIDRe, Who: "("}, {As: ClientIDRe, Who: `(a)\1`},
		{As: UsernameRe, Who: strings.Repeat("a", PatternBytesMax+1)}, {As: ClientIDRe, Who: "((a{100}){100})"}, {As: ClientIDRe, Who: "(a{900}){9}"}, {As: ClientID, Who: "x", Until: -1},
	} {
		if err := b.Check(); err == nil {
			t.Errorf("%v %.40q was taken", b.As, b.Who)
		}
	}
}

func TestBroad(t *testing.T) {
	for _, c := range []struct {
		as    As
		who   string
		broad bool
	}{
		{Peerhost, "127.0.0.1", true}, {Peerhost, "::1", true}, {Peerhost, "::ffff:127.0.0.1", true}, {Peerhost, "192.0.2.1", false}, {PeerhostNet, "0.0.0.0/0", true}, {PeerhostNet, "::/0", true},
		{PeerhostNet, "127.0.0.0/8", true}, {PeerhostNet, "127.0.0.1/32", true}, {PeerhostNet, "::/64", true}, {PeerhostNet, "128.0.0.0/1", true}, {PeerhostNet, "10.0.0.0/8", false},
		{PeerhostNet, "127.9.0.0/16", false}, {PeerhostNet, "2001:db8::/32", false}, {PeerhostNet, "2000::/3", true}, {ClientIDRe, ".*", true}, {UsernameRe, "", true}, {ClientIDRe, "^x", false}, {ClientID, "x", false},
	} {
		if c.who == "" {
			c.who = "^"
		}
		if got := ban(t, c.as, c.who).Broad(); (got != "") != c.broad {
			t.Errorf("%v %s: %q", c.as, c.who, got)
		}
	}
}

func TestLimits(t *testing.T) {
	b, _ := open(t)
	var list []*Ban
	for i := range PatternsMax {
		list = append(list, ban(t, ClientIDRe, fmt.Sprint("^x", i)))
	}
	if _, err := b.Add(list, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add([]*Ban{ban(t, UsernameRe, "^one more")}, nil); !errors.Is(err, ErrFull) {
		t.Errorf("patterns: %v", err)
	}
	if _, err := b.Add([]*Ban{ban(t, ClientIDRe, "^x1")}, nil); err != nil {
		t.Errorf("in place of one: %v", err)
	}
	list = list[:0]
	for i := range Max - PatternsMax {
		list = append(list, &Ban{As: ClientID, Who: fmt.Sprint(i)})
	}
	if _, err := b.Add(list, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add([]*Ban{ban(t, ClientID, "one more")}, nil); !errors.Is(err, ErrFull) {
		t.Errorf("bans: %v", err)
	}
}

// What a thousand patterns are told to take is true of the largest, too: the instructions of
// all of them are bounded, and the refusal says how and what to do. One that is replaced or
// taken away gives back what it had.
func TestAllPatternsTogetherAreBounded(t *testing.T) {
	b, _ := open(t)
	big := func(as As, i int) []*Ban { return []*Ban{ban(t, as, fmt.Sprintf("^x{900}%03d", i))} }
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	var err error
	for ; n < PatternsMax && err == nil; n++ {
		_, err = b.Add(big(ClientIDRe, n), nil)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "the most is 50000") || !strings.Contains(err.Error(), "shorten repetitions") {
		t.Fatalf("after %d: %v", n, err)
	}
	if took := int64(after.HeapAlloc-before.HeapAlloc) >> 20; n < 50 || took > 20 {
		t.Errorf("%d patterns take %d MiB", n, took)
	}
	if _, err := b.Add(big(ClientIDRe, 1), nil); err != nil {
		t.Errorf("in place of one: %v", err)
	}
	if _, err := b.Delete(noon, Wanted{As: ClientIDRe, Who: "^x{900}002"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add(big(UsernameRe, 1), nil); err != nil {
		t.Errorf("where one was: %v", err)
	}
	if _, err := b.Add(big(UsernameRe, 2), nil); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
}

// The set against a list that is gone through.
func TestSetAgainstAList(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "ab", "bob"})
	addrs := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.130", "192.0.3.1", "2001:db8::1", "2001:db8:1::1", "::ffff:192.0.2.1", ""})
	who := map[As]*rapid.Generator[string]{ClientID: names, Username: names, Peerhost: rapid.SampledFrom([]string{"192.0.2.1", "2001:db8::1"}),
		PeerhostNet: rapid.SampledFrom([]string{"192.0.2.0/24", "192.0.2.128/25", "192.0.0.0/16", "2001:db8::/32", "2001:db8::/48", "192.0.2.1/32"}),
		ClientIDRe:  rapid.SampledFrom([]string{"^a", "b$", "o"}), UsernameRe: rapid.SampledFrom([]string{"^a", "b$", "o"})}
	rapid.Check(t, func(t *rapid.T) {
		s, twin := newSet(), map[key]*Ban{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			as := As(rapid.IntRange(0, int(asEnd)-1).Draw(t, "as"))
			b := &Ban{As: as, Who: who[as].Draw(t, "who"), Until: noon.Unix() + int64(rapid.IntRange(-1, 1).Draw(t, "until"))}
			if as == ClientID && rapid.Bool().Draw(t, "scoped") {
				b.Identity = names.Draw(t, "identity")
			}
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
			if old := twin[b.key()]; old != nil && rapid.Bool().Draw(t, "remove") {
				s.remove(old)
				delete(twin, b.key())
			} else if s.put(b) != old {
				t.Fatal("put answers another one")
			} else {
				twin[b.key()] = b
			}
			p := client(names.Draw(t, "id"), names.Draw(t, "user"), addrs.Draw(t, "addr"))
			want := false
			for _, b := range twin {
				want = want || plainly(b, p)
			}
			if got := s.Judge(noon, p); (got != nil) != want || got != nil && !plainly(got, p) {
				t.Fatalf("%+v: %v, want %v", p, got, want)
			}
		}
	})
}

// plainly is what a ban means.
func plainly(b *Ban, p *auth.Principal) bool {
	if b.Over(noon) {
		return false
	}
	a := p.Addr.Unmap()
	switch b.As {
	case ClientID:
		return b.Who == p.ClientID && (b.Identity == "" || b.Identity == p.Identity)
	case Username:
		return b.Who == p.Username
	case Peerhost:
		return netip.MustParseAddr(b.Who) == a
	case PeerhostNet:
		return netip.MustParsePrefix(b.Who).Contains(a)
	case ClientIDRe:
		return b.re.MatchString(p.ClientID)
	}
	return b.re.MatchString(p.Username)
}

func TestListIsSorted(t *testing.T) {
	b, _ := open(t)
	if _, err := b.Add([]*Ban{ban(t, Username, "z"), ban(t, ClientID, "z"), ban(t, ClientID, "a"), ban(t, ClientID, "over", until(noon))}, nil); err != nil {
		t.Fatal(err)
	}
	b.SetFile([]*Ban{ban(t, ClientID, "m")})
	b.Flapped(noon, client("f", "u", "192.0.2.1"), time.Minute, "")
	for range 2 { // made, and kept
		var got []string
		b.Each(noon, func(ban *Ban, from Source) { got = append(got, ban.Who+" "+from.String()) })
		if s := strings.Join(got, ", "); s != "a operator, m file, z operator, z operator, f flapping" {
			t.Error(s)
		}
	}
	if got := b.Counts(); got != [sourceEnd]int64{4, 1, 1} {
		t.Errorf("%v", got)
	}
}
