package builtin

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Row P4.1: the cost of a check is a function of the presented password's form and
// of nothing else, and every refusal looks the same from outside.
func TestNothingTellsWhoExists(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.add("chosen")
	own := d.addGenerated("generated")
	other, err := generate(fixedRandom(7))
	if err != nil {
		t.Fatal(err)
	}
	damaged := own[:len(own)-1] + string(own[len(own)-1]^1)
	type cost struct{ argon2id, sha256 uint64 }
	person, machine := cost{argon2id: 1}, cost{sha256: 1}
	seen := map[string]string{} // client's view -> case
	for name, c := range map[string]struct {
		user, password string
		want           cost
		detail         string // "": enters
	}{
		"known, right":               {"chosen", canary, person, ""},
		"known, wrong":               {"chosen", "wrong-password", person, "wrong password"},
		"unknown":                    {"nobody", canary, person, "there is no such user"},
		"no user name":               {"", canary, person, "a password was given without a user name"},
		"other kind, person's form":  {"generated", canary, person, "wrong password: the user has a generated secret, something else was presented"},
		"damaged secret":             {"generated", damaged, person, "wrong password: the user has a generated secret, something else was presented"},
		"secret, right":              {"generated", own, machine, ""},
		"secret, wrong":              {"generated", string(other.Reveal()), machine, "wrong password"},
		"secret, unknown user":       {"nobody", own, machine, "there is no such user"},
		"secret, no user name":       {"", own, machine, "a password was given without a user name"},
		"secret, other kind of user": {"chosen", own, machine, "wrong password: a generated secret was presented, the user has a chosen password"},
		"short":                      {"chosen", "x", person, "wrong password"},
		"64 KiB":                     {"chosen", strings.Repeat("x", 65535), person, "wrong password"},  // A099
		"hostile name":               {"' or 1=1--", "wrong-password", person, "there is no such user"}, // A123
	} {
		before := d.auth.Stats()
		r, inline := d.login(request(c.user, c.password))
		after := d.auth.Stats()
		if got := (cost{after.Argon2id - before.Argon2id, after.SHA256 - before.SHA256}); got != c.want || after.CacheHits != 0 {
			t.Errorf("%s: cost %+v, want %+v", name, got, c.want)
		}
		if inline != (c.want == machine) {
			t.Errorf("%s: answered at once: %v", name, inline)
		}
		if (r.Outcome == auth.Allow) != (c.detail == "") || r.Detail != c.detail {
			t.Errorf("%s: %+v", name, r)
		}
		if c.detail != "" {
			seen[fmt.Sprint(r.Outcome, r.Reason, r.Principal)] = name
			if r.Reason != mqtt.BadUserNameOrPassword {
				t.Errorf("%s: %v", name, r.Reason)
			}
		}
	}
	if len(seen) != 1 {
		t.Errorf("a client can tell refusals apart: %v", seen)
	}
}

// A099, and the LDAP kind of hole: no password, or an empty one, enters nowhere and
// costs nothing.
func TestNoPasswordIsDeniedForFree(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.add("alice")
	for name, req := range map[string]*auth.Request{
		"user only":      {Username: "alice", HasUsername: true},
		"empty password": {Username: "alice", HasUsername: true, HasPassword: true},
		"unknown user":   {Username: "nobody", HasUsername: true},
		"nothing":        {},
		"flag only":      {HasPassword: true},
		"value, no flag": {Username: "alice", HasUsername: true, Password: secret.FromString(canary)},
	} {
		r, inline := d.login(req)
		if r.Outcome != auth.Deny || r.Reason != mqtt.BadUserNameOrPassword || !inline || r.Detail != "no password was given" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if got := d.auth.Stats(); got != (Stats{}) {
		t.Errorf("it cost %+v", got)
	}
}

func TestWhoEntersIsWhoTheRulesSee(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	want := auth.Principal{Identity: "dev", Username: "dev", ClientID: "c1", Listener: "mqtts", Method: "builtin", Addr: netip.MustParseAddr("192.0.2.1")}
	r, _ := d.login(request("dev", d.addGenerated("dev")))
	if !d.Store.StillProves("dev", r.Principal.Proof) || d.Store.StillProves("dev", r.Principal.Proof+1) {
		t.Error("the credential that was accepted is not told from another")
	}
	want.Proof = r.Principal.Proof
	if r.Outcome != auth.Allow || r.Principal != want || r.Reason != mqtt.Success {
		t.Errorf("%+v", r)
	}
}

func TestAVerifiedPasswordIsRememberedForAnHour(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.add("alice")
	for i, c := range []struct {
		after  time.Duration
		hashes uint64
	}{{0, 1}, {time.Minute, 1}, {58 * time.Minute, 1}, {time.Minute, 2}, {59 * time.Minute, 2}} {
		d.clock.Advance(c.after)
		if !d.enters("alice", canary) {
			t.Fatal("refused")
		}
		if got := d.auth.Stats().Argon2id; got != c.hashes {
			t.Errorf("login %d: %d hashes so far, want %d", i, got, c.hashes)
		}
	}
	if d.enters("alice", canary+"x") || d.enters("alic", "e"+canary) {
		t.Error("the cache let a near miss in")
	}
	if d.auth.cache.len() != 1 {
		t.Errorf("%d entries: a refusal was remembered", d.auth.cache.len())
	}
}

// Every way to change a user ends what was verified for the old credential.
func TestTheCacheDiesWithTheCredential(t *testing.T) {
	next := secret.FromString("another-password")
	for name, change := range map[string]func(d *desk) error{
		"password": func(d *desk) error { _, err := d.SetPassword("alice", next); return err },
		"secret":   func(d *desk) error { _, _, err := d.SetGenerated("alice"); return err },
		"delete":   func(d *desk) error { return d.Delete("alice") },
		"deleted and made again": func(d *desk) error {
			if err := d.Delete("alice"); err != nil {
				return err
			}
			_, err := d.Add("alice", next)
			return err
		},
	} {
		d := newDesk(t, Options{Workers: 1})
		d.add("alice")
		if !d.enters("alice", canary) || !d.enters("alice", canary) || d.auth.Stats().CacheHits != 1 {
			t.Fatal("not cached")
		}
		if err := change(d); err != nil {
			t.Fatal(name, err)
		}
		if n := d.auth.cache.len(); n != 0 {
			t.Errorf("%s: %d dead entries are held", name, n)
		}
		if d.enters("alice", canary) {
			t.Errorf("%s: the old password still enters", name)
		}
	}
}

// The change comes while a worker is between its hash and its answer: the old
// password must neither enter nor be remembered.
func TestAChangeWhileACheckIsInFlight(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.add("alice")
	old := d.lookup("alice")
	if _, err := d.SetPassword("alice", secret.FromString("another-password")); err != nil {
		t.Fatal(err)
	}
	if r := d.auth.answer(request("alice", canary), old, chosen, true); r.Outcome != auth.Deny || d.auth.cache.len() != 0 {
		t.Errorf("a check that began before the change: %+v", r)
	}
	d.auth.cache.add(start, old, secret.FromString(canary)) // a worker that is slower still
	if d.enters("alice", canary) {
		t.Error("the old password was remembered past its change")
	}
}

// A079: the work is bounded, whoever floods is refused first, and users who need no
// argon2id are not in the queue at all.
func TestTheQueueIsBounded(t *testing.T) {
	d := newDesk(t, Options{Workers: 1, Queue: 8, QueuePerPrefix: 4})
	d.add("alice")
	own := d.addGenerated("dev")
	if !d.enters("alice", canary) {
		t.Fatal("refused")
	}
	hold := d.holdWorker()
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[auth.Outcome]int{}
	flood := func(from string, n int) {
		for i := range n {
			req := request("alice", fmt.Sprintf("wrong-password-%d", i))
			req.Addr = netip.MustParseAddr(from)
			wg.Add(1)
			d.auth.Authenticate(req, func(r auth.Result) {
				if r.Outcome == auth.Unavailable && r.Reason != mqtt.ServerBusy {
					t.Errorf("%+v", r)
				}
				mu.Lock()
				got[r.Outcome]++
				mu.Unlock()
				wg.Done()
			})
		}
	}
	flood("198.51.100.1", 100)
	flood("::ffff:198.51.100.200", 100) // the same /24 by another road
	if n := d.auth.Stats().Queued; n != 4 {
		t.Errorf("%d of one prefix are queued, want 4", n)
	}
	flood("203.0.113.9", 3)
	flood("2001:db8::1", 1)
	if busy := d.auth.Stats().Busy; busy != 196 {
		t.Errorf("%d were told busy, want 196: others have room", busy)
	}
	flood("192.0.2.77", 5)
	if busy := d.auth.Stats().Busy; busy != 201 {
		t.Errorf("%d were told busy, want 201: the queue is full, and whom it gives up is told, too", busy)
	}
	before := d.auth.Stats()
	if !d.enters("dev", own) || !d.enters("alice", canary) {
		t.Error("a generated secret or a verified password waits behind the flood")
	}
	if after := d.auth.Stats(); after.SHA256 != before.SHA256+1 || after.CacheHits != before.CacheHits+1 || after.Argon2id != before.Argon2id {
		t.Errorf("%+v after %+v", after, before)
	}
	hold()
	wg.Wait()
	if got[auth.Deny] != 8 || got[auth.Unavailable] != 201 {
		t.Errorf("%v", got)
	}
	if n := len(d.auth.queue.from); n != 0 {
		t.Errorf("%d prefixes are remembered", n)
	}
}

// holdWorker keeps the one worker busy, with a check whose answer nobody takes,
// until the returned function is called.
func (d *desk) holdWorker() (release func()) {
	d.Helper()
	busy, free := make(chan struct{}), make(chan struct{})
	req := request("alice", "holds-the-worker")
	req.Addr = netip.MustParseAddr("100.64.0.1")
	d.auth.Authenticate(req, func(auth.Result) { close(busy); <-free })
	<-busy
	return func() { close(free) }
}

func TestCloseAnswersEverybody(t *testing.T) {
	d := newDesk(t, Options{Workers: 1, Queue: 8})
	d.add("alice")
	release := d.holdWorker()
	got := make(chan auth.Result, 3)
	for range 2 {
		d.auth.Authenticate(request("alice", canary), func(r auth.Result) { got <- r })
	}
	d.auth.queue.close()
	release()
	d.auth.Close()
	d.auth.Close() // twice does no harm
	d.auth.Authenticate(request("alice", canary), func(r auth.Result) { got <- r })
	for range 3 {
		if r := <-got; r.Outcome != auth.Unavailable || r.Reason < mqtt.UnspecifiedError {
			t.Errorf("%+v", r)
		}
	}
	if n := d.auth.Stats().Argon2id; n != 1 {
		t.Errorf("%d hashes: what waited was hashed although nobody could be let in", n)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c, err := newCache(fixedRandom(1), 10, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var users []*record
	for i := range 100 {
		u := &record{name: fmt.Sprint("u", i%25)}
		users = append(users, u)
		c.add(start, u, secret.FromString("pw"))
		if i%7 == 0 {
			c.drop([]string{fmt.Sprint("u", i%25)})
		}
		if c.len() > 10 || len(c.order) > 10 {
			t.Fatalf("%d entries, %d slots", c.len(), len(c.order))
		}
	}
	if !c.has(start, users[99], "u24", secret.FromString("pw")) {
		t.Error("the newest entry is gone")
	}
	for _, near := range []struct{ name, password string }{{"u24p", "w"}, {"u2", "4pw"}, {"", "u24pw"}} {
		if c.has(start, users[99], near.name, secret.FromString(near.password)) {
			t.Errorf("%+v is taken for the pair it is made of", near)
		}
	}
	c.add(start.Add(time.Minute), users[99], secret.FromString("pw"))
	if !c.has(start.Add(time.Hour+time.Second), users[99], "u24", secret.FromString("pw")) {
		t.Error("verifying again did not renew the hour")
	}
}

// A119: whatever is shown of users and of checks holds no password and no hash.
func TestSecretsAreNeverShown(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.add("alice")
	own := d.addGenerated("dev")
	hash := d.lookup("alice").cred.encode()
	var out bytes.Buffer
	show := func(v any) {
		fmt.Fprintf(&out, "%v %+v %s\n", v, v, v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		if j, err := json.Marshal(v); err == nil {
			out.Write(j)
		}
	}
	show(d.List())
	show(d.auth.Stats())
	for _, user := range []string{"alice", "dev", "nobody", ""} {
		for _, pw := range []string{canary, own, canary + own} {
			req := request(user, pw)
			r, _ := d.login(req)
			show(r)
			show(*req)
		}
	}
	for _, pw := range []string{"", "canary", strings.Repeat(canary, 100), own, canary} {
		_, err := d.Add("alice", secret.FromString(pw))
		show(err)
		_, err = d.SetPassword("nobody", secret.FromString(pw))
		show(err)
	}
	_, v, err := d.SetGenerated("dev")
	show(v)
	show(err)
	d.kept.fail = errors.New("the log takes nothing")
	_, _, err = d.SetGenerated("dev")
	show(err)
	show(d.Delete("dev"))
	raw := d.kept.users["alice"]
	for _, bad := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0), append([]byte{9}, raw[1:]...), raw[1:], raw[2:]} {
		_, err := decodeKept("alice", bad)
		if err == nil {
			t.Fatalf("a damaged record was taken: %x", bad)
		}
		show(err)
	}
	for _, bad := range []string{
		strings.Replace(d.file(), `"hash"`, `"hush"`, 1),
		strings.Replace(d.file(), `"2026-`, `"`+hash+`-`, 1),
		strings.Replace(d.file(), `"`+hash+`"`, `"`+hash+`x"`, 1),
		strings.Replace(d.file(), `"`+hash+`"`, `["`+hash+`"]`, 1),
		strings.Replace(d.file(), `"name"`, `"`+hash+`"`, 1),
		strings.Replace(d.file(), `"`+hash+`"`, `"`+hash, 1),
		strings.Replace(d.file(), `"`+hash+`"`, `"$argon2i$`+hash+`"`, 1),
	} {
		_, err := decodeUsers([]byte(bad))
		if err == nil {
			t.Fatalf("a damaged file was taken:\n%s", bad)
		}
		show(err)
	}
	for _, s := range []string{canary, own, hash, hash[len(argonHead):], string(v.Reveal()), hex.EncodeToString(raw[10:20]), string(raw[10:20])} {
		if i := strings.Index(out.String(), s); i >= 0 {
			t.Errorf("a secret is shown: ...%s...", out.String()[max(0, i-100):i+20])
		}
	}
}

// file is what the users would be in a users file.
func (d *desk) file() string {
	d.Helper()
	return fileOf(d.T, *d.users.Load())
}
