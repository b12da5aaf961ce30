package kerberos

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

var plain = []byte{1, 0, 0, 0}

// A client of MIT's library with a ticket of MIT's KDC is let in, with each encryption type,
// and until its ticket ends.
func TestClientsOfAKDC(t *testing.T) {
	for _, enctype := range []string{"aes256-cts-hmac-sha1-96", "aes128-cts-hmac-sha1-96", "aes256-cts-hmac-sha384-192", "aes128-cts-hmac-sha256-128"} {
		t.Run(enctype, func(t *testing.T) {
			t.Parallel()
			k := newKDC(t, enctype)
			r := k.enter(k.auth, "alice", &auth.Request{ClientID: "c", Username: "alice", HasUsername: true}, plain)
			if r.Outcome != auth.Allow || r.Principal.Identity != "alice" || r.Principal.Method != "plant" {
				t.Fatalf("%+v", r)
			}
			if left := r.Principal.Claims.Until.Sub(k.now); left <= 0 || left > time.Hour+time.Minute {
				t.Errorf("until %v from now", left)
			}
			if enctype == "aes256-cts-hmac-sha1-96" {
				k.attacks()
			}
		})
	}
}

// attacks are what must not get in.
func (k *kdc) attacks() {
	t := k.t
	nobody := &auth.Request{ClientID: "c"}
	refused := func(what string, r auth.Result, reason mqtt.ReasonCode, detail string) {
		t.Helper()
		if (r.Outcome != auth.Deny && r.Outcome != auth.Unavailable) || r.Reason != reason || !strings.Contains(r.Detail, detail) {
			t.Errorf("%s: %+v, want %v and %q", what, r, reason, detail)
		}
	}
	const bad = mqtt.BadUserNameOrPassword
	first := func(a *Authenticator, token []byte) auth.Result { return step(a.Begin(nobody), token) }
	token := func() []byte { return k.Token("alice", servant, mutual) }

	if r := k.enter(k.auth, "bob", nobody, append(plain, "bob"...)); r.Outcome != auth.Allow || r.Principal.Identity != "bob" {
		t.Errorf("as himself, said so: %+v", r)
	}
	named := k.acceptor(func(o *Options) { o.Bare = "" })
	if r := k.enter(named, "bob", nobody, plain); r.Outcome != auth.Allow || r.Principal.Identity != "bob@"+realm {
		t.Errorf("with his realm: %+v", r)
	}
	refused("as somebody else", k.enter(k.auth, "bob", nobody, append(plain, "alice"...)), mqtt.NotAuthorized, "act as somebody else")
	refused("another user name", k.enter(k.auth, "bob", &auth.Request{Username: "alice", HasUsername: true}, plain), mqtt.NotAuthorized, "different users")
	refused("a security layer", k.enter(k.auth, "bob", nobody, []byte{2, 0, 16, 0}), bad, "security layer")
	refused("a name with a slash", first(k.auth, k.Token("robot/arm", servant, mutual)), mqtt.NotAuthorized, "several parts")
	refused("another service", first(k.auth, k.Token("alice", "mqtt/other.example@"+realm, mutual)), bad, "another service")
	refused("not mutual", first(k.auth, k.Token("alice", servant, 32)), bad, "mutual")
	other := k.acceptor(func(o *Options) { o.Realms, o.Bare = []string{"ELSE.EXAMPLE"}, "" })
	refused("another realm", first(other, token()), mqtt.NotAuthorized, "not one of realms")

	wrong := k.acceptor(func(o *Options) {
		keys := &Keytab{}
		for _, sk := range o.Keys.keys {
			sk.bytes = bytes.Repeat([]byte{7}, len(sk.bytes))
			keys.keys = append(keys.keys, sk)
		}
		o.Keys = keys
	})
	refused("wrong key", first(wrong, token()), bad, "no key of ours opens")
	older := k.acceptor(func(o *Options) {
		keys := &Keytab{}
		for _, sk := range o.Keys.keys {
			sk.kvno += 7
			keys.keys = append(keys.keys, sk)
		}
		o.Keys = keys
	})
	refused("a key version that is not there", first(older, token()), bad, "key version")

	now := k.now
	k.now = now.Add(6 * time.Minute)
	refused("a clock that is behind", first(k.auth, token()), bad, "away from ours")
	k.now = now.Add(-6 * time.Minute)
	refused("a clock that is ahead", first(k.acceptor(func(*Options) {}), token()), bad, "begins at")
	k.now = now.Add(2 * time.Hour)
	refused("an expired ticket", first(k.auth, token()), bad, "ended at")
	k.now = now.Add(30 * time.Second)
	refused("made before we began", first(k.acceptor(func(*Options) {}), token()), mqtt.ServerUnavailable, "before this process began")
	k.now = now

	again := token()
	if r := first(k.auth, again); r.Outcome != auth.Continue {
		t.Fatalf("%+v", r)
	}
	refused("a replay", first(k.auth, again), bad, "a replay")
	k.now = now.Add(4 * time.Minute)
	refused("a replay later", first(k.auth, again), bad, "a replay")
	k.now = now

	// Whoever has seen a token and not the key of the ticket cannot say what comes last.
	e := k.auth.Begin(nobody)
	if r := step(e, token()); r.Outcome != auth.Continue {
		t.Fatal(r)
	}
	offered := step(e, nil)
	refused("our own message back", step(e, offered.Data), bad, "not signed")
	refused("after the end", step(e, offered.Data), bad, "is over")
	e = k.auth.Begin(nobody)
	step(e, token())
	refused("too much", step(e, []byte{1}), bad, "nothing belongs")

	// Every byte counts, and every length.
	sample := token()
	for i := range sample {
		broken := bytes.Clone(sample)
		broken[i] ^= 1 << (i % 8)
		if r := first(k.auth, broken); r.Outcome == auth.Continue && !bytes.Equal(broken, sample) && !k.harmless(sample, broken) {
			t.Errorf("byte %d of the token is not looked at", i)
		}
		if r := first(k.auth, sample[:i]); i > 0 && r.Outcome == auth.Continue {
			t.Errorf("%d bytes of a token are taken", i)
		}
	}
	refused("long", first(k.auth, make([]byte, TokenBytesMax+1)), bad, "too long")
}

// harmless tells whether only what nobody relies on differs: the kind of the service's name,
// and options of the request.
func (k *kdc) harmless(a, b []byte) bool {
	x, err := readRequest(a)
	y, again := readRequest(b)
	return err == nil && again == nil && x.realm == y.realm && strings.Join(x.parts, "/") == strings.Join(y.parts, "/") &&
		bytes.Equal(x.ticket.text, y.ticket.text) && bytes.Equal(x.authenticator.text, y.authenticator.text)
}
