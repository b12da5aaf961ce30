package builtin

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/hash"
	"github.com/redoubtmq/redoubt/auth/scram"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// horse is the password of the hashes that other programs made.
const (
	horse      = "correct horse"
	byMosq     = "$7$101$INLsvw2RzxAAO+r1$CALMNr32klu53gkDwb71APFwwS77z//c43zpdT5i7EShnYewMkWatwcuWd/30bP52QHlnRni08Qm/HqI19T/Pg=="
	byMosqOld  = "$6$4b35sZ7Wrv99eNVj$BTs/4iR8sw4mRDYLnoqTb6cZJbJSxrIyNNDoT7OQzbAOrj+Y82u+oOyjqPrkg2MjyNyvxpXCGEdzl86z5V5XTw=="
	byBcrypt   = "$2b$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC"
	byDjango   = "pbkdf2_sha256$1000$NaCl$y6UK+57OG2yJnZIbS3E5E599IliwIIbBdkxEFXXGYlM="
	byScrypt   = "$scrypt$ln=10,r=8,p=1$ABEiM0RVZneImaq7zN3u/w$9z6SbvYW9Q6FumPpnBhID5zTcxgJr8TK4Asu17Iq9HM"
	byEMQX     = "cc0c19e7e854dad3a1ac59d270a830024c7d2efa248ea80d0a27223f30bbf504"
	byEMQXSalt = "NaCl"
	byMD5      = "d897cc54e94fe33e4da398599cbdfbec"
)

func stored(line int, name, h string) Entry {
	return Entry{Line: line, Name: name, Stored: secret.FromString(h)}
}

// bring imports and must succeed.
func (d *desk) bring(opt ImportOptions, entries ...Entry) ImportReport {
	d.Helper()
	p, err := d.Import(entries, opt)
	if err != nil || !p.Applied {
		d.Fatalf("%+v %v", p, err)
	}
	return p
}

// upgraded waits for n users to be kept anew.
func (d *desk) upgraded(n uint64) {
	d.Helper()
	for d.auth.Stats().Upgraded < n {
		if d.auth.Stats().NotKept > 0 {
			d.Fatal("the log took nothing")
		}
		runtime.Gosched()
	}
}

func TestAnImportedUserLogsInAndBecomesOurs(t *testing.T) {
	for name, c := range map[string]struct {
		entry Entry
		opt   ImportOptions
		hash  string
	}{
		"bcrypt":    {stored(1, "alice", byBcrypt), ImportOptions{}, "bcrypt cost=6"},
		"emqx":      {Entry{Line: 1, Name: "alice", Stored: secret.FromString(byEMQX), Salt: byEMQXSalt}, ImportOptions{Spec: hash.Spec{Algorithm: hash.SHA256}}, "sha256"},
		"mosquitto": {stored(1, "alice", byMosq), ImportOptions{SCRAM: true}, "pbkdf2-sha512 i=101,blocks=1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, Options{Workers: 1})
			d.SetSCRAM(scram.Algorithms, scram.IterationsMin)
			if p := d.bring(c.opt, c.entry); p.Created != 1 || p.Foreign != 1 || p.Failed != 0 {
				t.Errorf("%+v", p)
			}
			u := d.List()[0]
			if u.Kind != "imported" || u.Hash != c.hash || (u.SCRAM == SCRAMLater) != c.opt.SCRAM {
				t.Errorf("%+v", u)
			}
			if again := open(t, d.kept).List(); !slices.Equal(again, d.List()) {
				t.Errorf("after a restart %+v", again)
			}
			if name == "mosquitto" && d.enters("alice", horse+"x") || d.enters("alice", "") {
				t.Error("a wrong password enters")
			}
			if d.List()[0].Kind != "imported" {
				t.Error("a wrong password upgrades")
			}
			r, _ := d.login(request("alice", horse))
			if r.Outcome != auth.Allow {
				t.Fatalf("%+v", r)
			}
			d.upgraded(1)
			v := d.List()[0]
			if v.Kind != "chosen" || v.Hash != hash.Argon2id || !v.Changed.Equal(u.Changed) || (v.SCRAM == "SCRAM-SHA-256 SCRAM-SHA-512") != c.opt.SCRAM {
				t.Errorf("%+v", v)
			}
			if !d.StillProves("alice", r.Principal.Proof) {
				t.Error("who came in while the hash changed is put out")
			}
			if n := d.auth.Stats().CacheHits; !d.enters("alice", horse) || d.auth.Stats().CacheHits != n+1 {
				t.Error("what was verified has to be verified again")
			}
			if len(*d.kinds.Load()) != 0 {
				t.Error("a kind is left over")
			}
			s := open(t, d.kept)
			if !slices.Equal(s.List(), d.List()) || !s.lookup("alice").cred.fits([]byte(horse)) {
				t.Errorf("after a restart %+v", s.List())
			}
			if k, _ := s.SCRAM("alice", scram.SHA512); (k != nil) != c.opt.SCRAM {
				t.Error("SCRAM keys")
			}
		})
	}
}

// Row P4.1 with imported users: whoever the user is, a check costs one argon2id and one of
// each kind there is.
func TestNothingTellsWhoCameFromElsewhere(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.add("own")
	machine := d.addGenerated("machine")
	d.bring(ImportOptions{}, stored(1, "mosq", byMosq), stored(2, "mosq2", byMosq), stored(3, "crypt", byBcrypt))
	type cost struct{ argon2id, foreign, sha256 uint64 }
	for _, c := range []struct {
		user, password string
		want           cost
	}{
		{"own", canary + "x", cost{1, 2, 0}}, {"mosq", "wrong-password", cost{1, 2, 0}}, {"crypt", "wrong-password", cost{1, 2, 0}},
		{"nobody", "wrong-password", cost{1, 2, 0}}, {"machine", "wrong-password", cost{1, 2, 0}}, {"own", canary, cost{1, 2, 0}},
		{"mosq", machine, cost{0, 0, 1}}, {"nobody", machine, cost{0, 0, 1}}, {"machine", machine, cost{0, 0, 1}},
		{"crypt", horse, cost{1, 2, 0}}, {"nobody", "wrong-password", cost{1, 1, 0}}, // nobody pays for bcrypt any more
		{"mosq", horse, cost{1, 1, 0}}, {"nobody", "wrong-password", cost{1, 1, 0}}, // mosq2 is left
		{"mosq2", horse, cost{1, 1, 0}}, {"nobody", "wrong-password", cost{1, 0, 0}},
	} {
		before := d.auth.Stats()
		r, _ := d.login(request(c.user, c.password))
		after := d.auth.Stats()
		if got := (cost{after.Argon2id - before.Argon2id, after.Foreign - before.Foreign, after.SHA256 - before.SHA256}); got != c.want {
			t.Errorf("%s: %+v, want %+v (%+v)", c.user, got, c.want, r)
		}
		if right := c.password == horse; right {
			d.upgraded(before.Upgraded + 1) // which may have been before the answer was counted
		}
	}
	if r, _ := d.login(request("mosq", machine)); r.Outcome != auth.Deny {
		t.Errorf("%+v", r)
	}
}

// Every way to change a user ends the kind.
func TestKindsAreCounted(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.bring(ImportOptions{}, stored(1, "a", byMosq), stored(2, "b", byMosqOld), stored(3, "c", byBcrypt), stored(4, "e", byDjango))
	if _, err := d.Import([]Entry{stored(1, "f", byScrypt)}, ImportOptions{}); err == nil || d.Known("f") || !strings.Contains(err.Error(), "at most 4") {
		t.Errorf("a fifth kind: %v", err)
	}
	if err := d.Delete("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SetPassword("b", secret.FromString(canary)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.SetGenerated("c"); err != nil {
		t.Fatal(err)
	}
	d.bring(ImportOptions{Existing: ExistingIsLost}, stored(1, "e", byScrypt))
	ks := *d.kinds.Load()
	if len(ks) != 1 || ks[0].users != 1 || !strings.HasPrefix(ks[0].standIn.kind, "scrypt") {
		t.Errorf("%+v", ks)
	}
	if again := *open(t, d.kept).kinds.Load(); len(again) != 1 || again[0].users != 1 {
		t.Errorf("after a restart %+v", again)
	}
}

// A disk that takes nothing, and a crash: the old hash goes on to count.
func TestAnUpgradeThatIsNotKept(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.bring(ImportOptions{}, stored(1, "alice", byMosq))
	d.mu.Lock()
	d.kept.fail = errors.New("the disk is full")
	d.mu.Unlock()
	if !d.enters("alice", horse) {
		t.Fatal("a full disk keeps people out")
	}
	for d.auth.Stats().NotKept == 0 {
		runtime.Gosched()
	}
	if u := d.List()[0]; u.Kind != "imported" || len(*d.kinds.Load()) != 1 {
		t.Errorf("%+v", u)
	}
	if u := open(t, d.kept).List()[0]; u.Kind != "imported" {
		t.Errorf("after a crash %+v", u)
	}
	d.mu.Lock()
	d.kept.fail = nil
	d.mu.Unlock()
	d.auth.cache.drop([]string{"alice"})
	if !d.enters("alice", horse) {
		t.Fatal("refused")
	}
	for d.auth.Stats().Upgraded == 0 {
		runtime.Gosched()
	}
}

// Many logins at once are one change, and one write.
func TestLoginsAtOnceUpgradeOnce(t *testing.T) {
	d := newDesk(t, Options{Workers: 4, Queue: 1000, QueuePerPrefix: 1000, CacheFor: 1})
	d.bring(ImportOptions{}, stored(1, "alice", byMosq))
	steps := len(d.kept.steps)
	var wg sync.WaitGroup
	for range 5 {
		wg.Add(1)
		d.auth.Authenticate(request("alice", horse), func(r auth.Result) {
			if r.Outcome != auth.Allow {
				t.Errorf("%+v", r)
			}
			wg.Done()
		})
	}
	wg.Wait()
	d.upgraded(1)
	d.auth.Close()
	if n := d.auth.Stats().Upgraded; n != 1 || len(d.kept.steps) != steps+1 {
		t.Errorf("%d upgrades in %d writes", n, len(d.kept.steps)-steps)
	}
}

// A password that was changed while its upgrade waits is not brought back.
func TestAnUpgradeBringsNothingBack(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.bring(ImportOptions{}, stored(1, "alice", byMosq))
	r := d.lookup("alice")
	for _, change := range []func() error{
		func() error { _, err := d.SetPassword("alice", secret.FromString(canary)); return err },
		func() error { return d.Delete("alice") },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		before := d.List()
		if n, err := d.upgrade([]upgrade{{r: r}}); n != 0 || err != nil || !slices.Equal(before, d.List()) {
			t.Errorf("%d %v %+v", n, err, d.List())
		}
	}
	if d.enters("alice", horse) {
		t.Error("the imported password counts again")
	}
}

func TestAllOrNothing(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.add("there")
	var told []string
	d.OnChange(func(names []string) { told = append(told, names...) })
	file := []Entry{
		stored(2, "a", byMosq), stored(3, "there", byMosq), stored(4, "a", byBcrypt), stored(5, "b/c", byMosq),
		stored(6, "d", "$7$1000000000$AAAA$"+strings.Repeat("A", 88)), stored(7, "e", "canary"), {Line: 8, Name: "f", Wrong: "is a superuser"},
		{Line: 9, Name: "g", Password: secret.FromString("short")}, {Line: 10, Name: "h", Password: secret.FromString(canary)}, stored(11, "i", byMosqOld),
	}
	before := d.List()
	for _, opt := range []ImportOptions{{}, {DryRun: true}, {DryRun: true, KeepGoing: true}, {Existing: ExistingIsLost}} {
		p, err := d.Import(file, opt)
		failed := 7
		if opt.Existing == ExistingIsLost {
			failed = 6
		}
		if err != nil || p.Applied || p.Failed != failed || p.Total != 10 || !slices.Equal(before, d.List()) || len(told) > 0 {
			t.Errorf("%+v: %+v %v", opt, p, err)
		}
		for _, f := range p.Failures {
			if strings.Contains(fmt.Sprint(f), "canary") || strings.Contains(fmt.Sprint(f), "short") || strings.Contains(fmt.Sprint(f), "AAAA") || f.Line < 3 || (f.Line == 5) != (f.User == "") {
				t.Errorf("%+v", f)
			}
		}
	}
	p := d.bring(ImportOptions{KeepGoing: true, Existing: ExistingIsLost}, file...)
	if p.Created != 3 || p.Updated != 1 || p.Failed != 6 || p.Skipped != 0 || !slices.Equal(told, []string{"there"}) || d.Len() != 4 {
		t.Errorf("%+v, told %v", p, told)
	}
	if !d.enters("h", canary) || d.enters("there", canary) || !d.enters("there", horse) || !d.enters("a", horse) {
		t.Error("the passwords are not those of the file")
	}
	d.upgraded(2)
	again, err := d.Import([]Entry{stored(1, "i", byMosqOld), stored(2, "there", byMosq)}, ImportOptions{Existing: ExistingStays})
	if err != nil || again.Skipped != 2 || again.Applied {
		t.Errorf("again: %+v %v", again, err)
	}
	again, err = d.Import([]Entry{stored(1, "i", byMosqOld)}, ImportOptions{})
	if err != nil || again.Skipped != 1 {
		t.Errorf("the same hash: %+v %v", again, err)
	}
	d.kept.fail = errors.New("full")
	if p, err := d.Import([]Entry{stored(1, "z", byMosq)}, ImportOptions{}); err == nil || p.Applied || d.Known("z") {
		t.Errorf("not kept: %+v %v", p, err)
	}
}

func TestImportsThatAreRefusedWhole(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	for name, c := range map[string]struct {
		n   int
		e   Entry
		opt ImportOptions
	}{
		"too many":           {ImportMax + 1, stored(1, "a", byMosq), ImportOptions{KeepGoing: true}},
		"too many passwords": {ImportPasswordsMax + 1, Entry{Name: "a", Password: secret.FromString(canary)}, ImportOptions{KeepGoing: true}},
		"bad spec":           {1, stored(1, "a", byMosq), ImportOptions{Spec: hash.Spec{Algorithm: "crc"}}},
		"bad existing":       {1, stored(1, "a", byMosq), ImportOptions{Existing: "merge"}},
	} {
		if p, err := d.Import(slices.Repeat([]Entry{c.e}, c.n), c.opt); err == nil || p.Applied || d.Len() != 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	p, err := d.Import([]Entry{{Line: 1, Name: "a", Stored: secret.FromString(byMD5), Salt: byEMQXSalt}}, ImportOptions{Spec: hash.Spec{Algorithm: hash.MD5}})
	if err != nil || p.Failed != 1 || !strings.Contains(p.Failures[0].Reason, "--allow-weak") {
		t.Errorf("%+v %v", p, err)
	}
}

// What is exported with hashes comes in again elsewhere, and everybody logs in.
func TestExportComesBack(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.add("alice")
	own := d.addGenerated("dev")
	d.bring(ImportOptions{}, stored(1, "mosq", byMosq))
	d.bring(ImportOptions{Weak: true, Spec: hash.Spec{Algorithm: hash.MD5}}, Entry{Name: "old", Stored: secret.FromString(byMD5), Salt: byEMQXSalt})
	for _, e := range d.Export(false) {
		if !e.Stored.Empty() {
			t.Error("hashes are exported unasked")
		}
	}
	var file []Entry
	for i, e := range d.Export(true) {
		file = append(file, Entry{Line: i + 1, Name: e.Name, Stored: e.Stored})
		if s := fmt.Sprintf("%v %+v", e, e); strings.Contains(s, "$") {
			t.Error(s)
		}
	}
	other := newDesk(t, Options{Workers: 1})
	if p := other.bring(ImportOptions{Weak: true}, file...); p.Created != 4 || p.Foreign != 2 {
		t.Errorf("%+v", p)
	}
	if !other.enters("alice", canary) || !other.enters("dev", own) || !other.enters("mosq", horse) || !other.enters("old", horse) || other.enters("old", canary) {
		t.Error("somebody is not who he was")
	}
}

// SCRAM keys live and die with the password.
func TestSCRAMKeysGoWithThePassword(t *testing.T) {
	s := open(t, newMemory())
	s.SetSCRAM([]scram.Algorithm{scram.SHA256}, scram.IterationsMin)
	has := func() bool { k, _ := s.SCRAM("a", scram.SHA256); return k != nil }
	if _, err := s.Add("a", secret.FromString(canary)); err != nil || has() {
		t.Fatal(err, "keys nobody asked for")
	}
	u, err := s.SetPassword("a", secret.FromString(canary), WithSCRAM)
	if err != nil || !has() || u.SCRAM != "SCRAM-SHA-256" {
		t.Errorf("%+v %v", u, err)
	}
	k, proof := s.SCRAM("a", scram.SHA256)
	if !s.StillProves("a", proof) {
		t.Error("the keys prove another credential")
	}
	if _, _, err := s.SetGenerated("a"); err != nil || !has() {
		t.Error(err, "the keys are gone")
	}
	if next, p := s.SCRAM("a", scram.SHA256); bytes.Equal(next.Stored, k.Stored) || s.StillProves("a", proof) || p == proof {
		t.Error("the keys of the old password count")
	}
	if _, err := s.SetPassword("a", secret.FromString(canary), WithoutSCRAM); err != nil || has() {
		t.Error(err, "they are still there")
	}
	if _, err := s.SetPassword("a", secret.FromString("bell\abell\a"), WithSCRAM); err == nil {
		t.Error("keys of what SASLprep forbids")
	}
	if k, _ := s.SCRAM("nobody", scram.SHA256); k != nil {
		t.Error("keys of nobody")
	}
}

// The secret is made once and outlives restarts, and is no user.
func TestTheSecretOfSCRAMStays(t *testing.T) {
	kept := newMemory()
	s := open(t, kept)
	a, err := s.SCRAMSecret()
	if err != nil || a == [32]byte{} {
		t.Fatal(err)
	}
	if b, err := s.SCRAMSecret(); b != a || err != nil {
		t.Error("another one", err)
	}
	again := open(t, kept)
	if b, err := again.SCRAMSecret(); b != a || err != nil || again.Len() != 0 || again.Known(secretName) {
		t.Error("after a restart it is another, or a user", err)
	}
	kept.users[secretName] = []byte{2, 1}
	if _, err := Open(kept, clock.NewManual(start)); err == nil {
		t.Error("a damaged one is taken")
	}
}

// Whatever is in the log, it is read back as it was, or refused.
func FuzzKept(f *testing.F) {
	t := &testing.T{}
	d := open(t, newMemory())
	d.SetSCRAM(scram.Algorithms, scram.IterationsMin)
	_, _ = d.Add("a", secret.FromString(canary), WithSCRAM)
	_, _ = d.Import([]Entry{stored(1, "b", byMosq), stored(2, "c", byBcrypt)}, ImportOptions{SCRAM: true})
	for _, r := range d.users.Load().sorted() {
		f.Add(r.content())
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := decodeKept("a", content)
		if err != nil {
			return
		}
		if got := r.content(); !bytes.Equal(got, content) {
			again, err := decodeKept("a", got)
			if err != nil || !bytes.Equal(again.content(), got) || r.imported == nil {
				t.Fatalf("%x became %x", content, got)
			}
		}
	})
}

// A hash that is the password itself is not kept, whoever says that it is one.
func TestAPasswordInTheClearIsNoHash(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	h, err := hash.Spec{Algorithm: hash.Plain}.Parse(canary, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range []ImportOptions{{}, {Weak: true}, {Weak: true, Spec: hash.Spec{Algorithm: hash.Plain}}} {
		p, err := d.Import([]Entry{{Name: "eve", Stored: h.Encode()}, {Name: "bob", Stored: secret.FromString(canary)}}, opt)
		if err == nil && (p.Created > 0 || p.Applied || p.Failed != 2) {
			t.Errorf("%+v: %+v", opt, p)
		}
	}
}
