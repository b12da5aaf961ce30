package builtin

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestGeneratedSecretsHaveTheirForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, err := generate(fixedRandom(rapid.Int64().Draw(t, "seed")))
		if err != nil {
			t.Fatal(err)
		}
		b := v.Reveal()
		if len(b) != secretLen || !generatedForm(b) {
			t.Fatalf("%q has not the form", b)
		}
		// One letter changed is no longer the form: CRC-32 finds every such error.
		i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		c := append([]byte(nil), b...)
		c[i] = base62[(strings.IndexByte(base62, c[i])+1+rapid.IntRange(0, 60).Draw(t, "by"))%62]
		if string(c) != string(b) && generatedForm(c) {
			t.Fatalf("%q still has the form", c)
		}
	})
	for _, not := range []string{"", "rdt_", strings.Repeat("0", secretLen), "rdt_" + strings.Repeat("-", secretLen-4), "RDT_" + strings.Repeat("0", secretLen-4)} {
		if generatedForm([]byte(not)) {
			t.Errorf("%q has the form", not)
		}
	}
	if _, err := generate(strings.NewReader("too short")); err == nil {
		t.Error("a secret was made without enough random bytes")
	}
}

// Zeros and ones at the ends of the range keep their full length.
func TestGeneratedSecretsOfExtremes(t *testing.T) {
	for _, raw := range []string{strings.Repeat("\x00", 20), strings.Repeat("\xff", 20)} {
		v, err := generate(strings.NewReader(raw))
		if err != nil || len(v.Reveal()) != secretLen || !generatedForm(v.Reveal()) {
			t.Errorf("%q %v", v.Reveal(), err)
		}
	}
}

func TestStoredFormsReadBack(t *testing.T) {
	for _, k := range []kind{chosen, generated} {
		c, err := newCredential(fixedRandom(5), k, []byte("some password"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeCredential(c.encode())
		if err != nil || got != c {
			t.Errorf("%v: %+v %v", k, got, err)
		}
		if !got.fits([]byte("some password")) || got.fits([]byte("some passwore")) {
			t.Errorf("%v: the check is wrong", k)
		}
		again, err := newCredential(fixedRandom(6), k, []byte("some password"))
		if err != nil || again.sum == c.sum {
			t.Errorf("%v: the salt changes nothing", k)
		}
	}
}

// A known answer, computed with another implementation (OpenSSL's ARGON2ID: m=19456,
// t=2, p=1, salt 00..0f), so that users written by one version open for the next.
func TestKnownHash(t *testing.T) {
	c, err := decodeCredential("$argon2id$v=19$m=19456,t=2,p=1$" + "AAECAwQFBgcICQoLDA0ODw$gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU")
	if err != nil {
		t.Fatal(err)
	}
	if !c.fits([]byte("correct horse battery staple")) || c.fits([]byte("correct horse battery stapl")) {
		t.Error("the known hash does not fit its password")
	}
}

// Other parameters would make one user's check slower than another's, or the
// machine's memory the file's choice; weak forms are no forms.
func TestHashesThatAreRefused(t *testing.T) {
	const tail = "AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if _, err := decodeCredential(argonHead + tail); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"", "plain", "$argon2id$", argonHead, argonHead + "$", argonHead + tail + "$", argonHead + tail[:30], argonHead + tail + "AA",
		"$argon2id$v=19$m=4194304,t=2,p=1$" + tail, "$argon2id$v=19$m=8,t=1,p=1$" + tail, "$argon2id$v=16$m=19456,t=2,p=1$" + tail,
		"$argon2i$v=19$m=19456,t=2,p=1$" + tail, "$2b$10$" + tail, "$6$" + tail, "{SHA}" + tail, sha256Head + tail[1:],
		strings.Replace(argonHead+tail, "AAAA$", "AAA=$", 1), strings.Replace(argonHead+tail, "$AAA", "$\nAA", 1),
	} {
		if _, err := decodeCredential(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}
