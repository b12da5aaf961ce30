package hash

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// horse is the password of every vector but argon2id's, whose is "password".
const horse = "correct horse"

// vectors were made by others: openssl kdf and dgst, perl's crypt with libxcrypt,
// mosquitto_passwd 2.0.11, Python's hashlib, and the test of the argon2 reference.
var vectors = []struct {
	name, hash, salt string
	spec             Spec
}{
	{"argon2id", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "", Spec{}},
	{"argon2id by name", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "ignored", Spec{Algorithm: Argon2id}},
	{"bcrypt 2a", "$2a$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC", "", Spec{}},
	{"bcrypt 2b", "$2b$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC", "", Spec{Algorithm: Bcrypt}},
	{"bcrypt 2y", "$2y$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC", "$2y$06$abcdefghijklmnopqrstuu", Spec{Algorithm: Bcrypt}},
	{"mosquitto 7", "$7$101$INLsvw2RzxAAO+r1$CALMNr32klu53gkDwb71APFwwS77z//c43zpdT5i7EShnYewMkWatwcuWd/30bP52QHlnRni08Qm/HqI19T/Pg==", "", Spec{}},
	{"mosquitto 6", "$6$4b35sZ7Wrv99eNVj$BTs/4iR8sw4mRDYLnoqTb6cZJbJSxrIyNNDoT7OQzbAOrj+Y82u+oOyjqPrkg2MjyNyvxpXCGEdzl86z5V5XTw==", "", Spec{}},
	{"django", "pbkdf2_sha256$1000$NaCl$y6UK+57OG2yJnZIbS3E5E599IliwIIbBdkxEFXXGYlM=", "", Spec{}},
	{"passlib", "$pbkdf2-sha256$1000$./8wMTIzNDU2Nzg5YWJjZA$dxCV04R626Q2dKRCrRTw/vv23ebgVdGzEpUFR5eCrag", "", Spec{Algorithm: PBKDF2, Iterations: 7}},
	{"scrypt", "$scrypt$ln=10,r=8,p=1$ABEiM0RVZneImaq7zN3u/w$9z6SbvYW9Q6FumPpnBhID5zTcxgJr8TK4Asu17Iq9HM", "", Spec{Algorithm: Scrypt}},
	{"pbkdf2 sha256", "cba50afb9ece1b6c899d921b4b7139139f7d2258b02086c1764c441575c66253", "NaCl", Spec{Algorithm: PBKDF2, Iterations: 1000}},
	{"pbkdf2 sha256, base64", "y6UK+57OG2yJnZIbS3E5E599IliwIIbBdkxEFXXGYlM=", "NaCl", Spec{Algorithm: PBKDF2, Iterations: 1000, MAC: SHA256, Encoding: Base64}},
	{"pbkdf2 sha512", "CC5D115D3CE48C34058B84416AF0F7AFC22402968E17446BD88016B0D551BCA43C9EDA0423C04B6266512F1D1BCB97ED396210A047412A3E64411323E73B507C", "NaCl", Spec{Algorithm: PBKDF2, Iterations: 1000, MAC: SHA512}},
	{"md5", "d897cc54e94fe33e4da398599cbdfbec", "NaCl", Spec{Algorithm: MD5}},
	{"sha", "cb663666d348d6a743f6c71bc7ad005432cbcbd9", "NaCl", Spec{Algorithm: SHA1, SaltPosition: Prefix}},
	{"sha256", "cc0c19e7e854dad3a1ac59d270a830024c7d2efa248ea80d0a27223f30bbf504", "NaCl", Spec{Algorithm: SHA256}},
	{"sha256, suffix", "459b757df3d40423c89b513188199edbf3eae8b8f198e57e52ec130f16141179", "NaCl", Spec{Algorithm: SHA256, SaltPosition: Suffix}},
	{"sha256, no salt, base64", "QQTTb42iwlQ0n4WDZ5Pr4CngyVcGOjTJHC6SAxh7VjE=", "NaCl", Spec{Algorithm: SHA256, SaltPosition: Disable, Encoding: Base64}},
	{"sha512", "e0875a7a703970dd8064ca11d2b9e993c586c129618a2b5c6d4ce65012d3e7197a42405dc9fae0c920bd63a9ba526798500e6246dd3e099d5d0c501b09551f36", "NaCl", Spec{Algorithm: SHA512}},
	{"plain", horse, "", Spec{Algorithm: Plain}},
	{"plain, salted", "NaCl" + horse, "NaCl", Spec{Algorithm: Plain, SaltPosition: Prefix}},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			right := horse
			if strings.HasPrefix(v.name, "argon2id") {
				right = "password"
			}
			for _, p := range []struct {
				password string
				want     bool
			}{{right, true}, {right + "x", false}, {right[:len(right)-1], false}, {strings.ToUpper(right), false}, {"", false}, {v.hash, v.name == "plain"}} {
				got, err := v.spec.Verify([]byte(p.password), v.hash, v.salt)
				if err != nil || got != p.want {
					t.Errorf("password %q: %v, %v; want %v", p.password, got, err, p.want)
				}
			}
			h, err := v.spec.Parse(v.hash, v.salt)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Decode(string(h.Encode().Reveal()))
			if err != nil || !back.Fits([]byte(right)) || back.Fits([]byte("x"+right)) || back.Cost() != h.Cost() {
				t.Errorf("encoded and decoded it is another: %v", err)
			}
			if s := h.StandIn(); s.Cost() != h.Cost() || s.Fits([]byte(right)) {
				t.Error("the stand-in costs something else, or fits")
			}
		})
	}
}

// What was hashed of nothing lets nobody in who has nothing.
func TestAnEmptyPasswordFitsNothing(t *testing.T) {
	for _, c := range []struct {
		spec   Spec
		stored string
	}{
		{Spec{Algorithm: MD5}, "d41d8cd98f00b204e9800998ecf8427e"},
		{Spec{Algorithm: SHA256, SaltPosition: Disable}, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	} {
		for _, p := range [][]byte{nil, {}} {
			if ok, err := c.spec.Verify(p, c.stored, ""); ok || err != nil {
				t.Errorf("%+v: %v %v", c.spec, ok, err)
			}
		}
	}
}

// A salt that is not used where the spec says so, or a spec of another algorithm, must
// not fit by accident.
func TestTheSpecDecides(t *testing.T) {
	for _, v := range vectors {
		for _, s := range []Spec{{Algorithm: MD5}, {Algorithm: SHA1}, {Algorithm: SHA256}, {Algorithm: SHA256, SaltPosition: Suffix}, {Algorithm: SHA512}, {Algorithm: PBKDF2, Iterations: 999}, {Algorithm: Scrypt}, {Algorithm: Bcrypt}, {Algorithm: Argon2id}} {
			if s.Algorithm == v.spec.Algorithm && s.SaltPosition == v.spec.SaltPosition || v.spec.algorithm() == Auto || v.spec.Algorithm == PBKDF2 && s.Algorithm == PBKDF2 && v.hash[0] == '$' {
				continue
			}
			if ok, _ := s.Verify([]byte(horse), v.hash, v.salt); ok && !(v.spec.SaltPosition == Prefix && s.SaltPosition == "") {
				t.Errorf("%s fits as %+v", v.name, s)
			}
		}
	}
}

func TestMonstersAreNotComputed(t *testing.T) {
	const salt, sum = "c29tZXNhbHRzb21lc2FsdA", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, stored := range []string{
		"$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=65536,t=4000000000,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=131072,t=16,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=131072,t=1,p=255$" + salt + "$" + sum,
		"$argon2id$v=19$m=18446744073709551617,t=1,p=1$" + salt + "$" + sum,
		"$2b$31$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC",
		"$2b$15$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC",
		"$pbkdf2-sha256$1000000000$" + salt + "$" + sum,
		"$pbkdf2-sha512$i=2000001,l=32$" + salt + "$" + sum,
		"$7$1000000000$" + salt + "$" + sum,
		"$pbkdf2-sha256$1000000$" + salt + "$" + strings.Repeat("A", 128), // three blocks
		"$scrypt$ln=30,r=8,p=1$" + salt + "$" + sum,
		"$scrypt$ln=63,r=8,p=1$" + salt + "$" + sum,
		"$scrypt$ln=17,r=9,p=1$" + salt + "$" + sum,
		"$scrypt$ln=14,r=8,p=64$" + salt + "$" + sum,
		"$scrypt$ln=1,r=1000000,p=1000000$" + salt + "$" + sum,
	} {
		if ok, err := (Spec{}).Verify([]byte(horse), stored, ""); ok || !errors.Is(err, ErrCost) {
			t.Errorf("%s: %v, %v; want ErrCost", stored[:24], ok, err)
		} else if strings.Contains(err.Error(), sum) || strings.Contains(err.Error(), salt) {
			t.Errorf("the error shows the hash: %v", err)
		}
	}
}

func TestWhatCannotBeReadIsAnErrorThatShowsNothing(t *testing.T) {
	const salt, sum = "c29tZXNhbHRzb21lc2FsdA", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	hex256 := strings.Repeat("ab", 32)
	for _, c := range []struct {
		spec         Spec
		stored, salt string
	}{
		{Spec{}, "", ""},
		{Spec{}, "canary", ""},
		{Spec{}, hex256, "canary"},
		{Spec{}, "$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + sum, ""},
		{Spec{}, "$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + sum, ""},
		{Spec{}, "$argon2id$m=65536,t=2,p=1$" + salt + "$" + sum, ""},
		{Spec{}, "$argon2id$v=19$t=2,m=65536,p=1$" + salt + "$" + sum, ""},
		{Spec{}, "$argon2id$v=19$m=65536,t=2,p=1,data=x$" + salt + "$" + sum, ""},
		{Spec{}, "$argon2id$v=19$m=-1,t=2,p=1$" + salt + "$" + sum, ""},
		{Spec{}, "$argon2id$v=19$m=0,t=2,p=1$" + salt + "$" + sum, ""},
		{Spec{}, "$argon2id$v=19$m=8,t=2,p=2$" + salt + "$" + sum, ""},
		{Spec{}, "$argon2id$v=19$m=+65536,t=2,p=1$" + salt + "$" + sum, ""},
		{Spec{}, "$argon2id$v=19$m=65536,t=2,p=1$$" + sum, ""},
		{Spec{}, "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$AAAA", ""},
		{Spec{}, "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + sum + "\n", ""},
		{Spec{}, "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + sum + "$x", ""},
		{Spec{}, "$2x$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC", ""},
		{Spec{}, "$2b$03$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC", ""},
		{Spec{}, "$2b$+6$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC", ""},
		{Spec{}, "$2b$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliB", ""},
		{Spec{}, "$2b$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPili:zC", ""},
		{Spec{}, "$2", ""},
		{Spec{}, "$7$0$" + salt + "$" + sum, ""},
		{Spec{}, "$7$101$" + salt, ""},
		{Spec{}, "$7$101$" + salt + "$!!!!", ""},
		{Spec{}, "$pbkdf2-sha512$i=1000,l=31$" + salt + "$" + sum, ""},
		{Spec{}, "$pbkdf2-sha512$", ""},
		{Spec{}, "$6$rounds=5000$saltsalt$" + strings.Repeat("a", 86), ""},
		{Spec{}, "$6$saltsalt$" + strings.Repeat("a", 86) + "A", ""},
		{Spec{}, "$6$" + salt + "$" + sum, ""},
		{Spec{}, "$scrypt$ln=0,r=8,p=1$" + salt + "$" + sum, ""},
		{Spec{}, "$rdt-digest$a=md5,s=prefix$" + salt + "$AAAAAAAAAAAAAAAAAAAAAA", ""}, // weak and not asked for
		{Spec{}, "$rdt-digest$a=crc,s=prefix$" + salt + "$" + sum, ""},
		{Spec{Algorithm: Bcrypt}, "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + sum, ""},
		{Spec{Algorithm: PBKDF2}, hex256, "canary"}, // no iterations anywhere
		{Spec{Algorithm: PBKDF2, Iterations: 10}, "abcd", "canary"},
		{Spec{Algorithm: SHA256}, hex256[:62], "canary"},
		{Spec{Algorithm: SHA256}, hex256 + " ", "canary"},
		{Spec{Algorithm: SHA256}, strings.Repeat("zz", 32), "canary"},
		{Spec{Algorithm: SHA256, Encoding: Base64}, hex256, "canary"},
		{Spec{Algorithm: SHA512}, hex256, "canary"},
		{Spec{Algorithm: SHA256}, hex256, strings.Repeat("s", SaltBytesMax+1)},
		{Spec{Algorithm: Plain}, strings.Repeat("p", TextBytesMax+1), ""},
	} {
		ok, err := c.spec.Verify([]byte(horse), c.stored, c.salt)
		if ok || !errors.Is(err, ErrForm) {
			t.Errorf("%+v %.40q: %v, %v; want ErrForm", c.spec, c.stored, ok, err)
			continue
		}
		for _, secret := range []string{salt, sum, hex256, "canary", "abcdefghijklm"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows what is stored: %v", err)
			}
		}
	}
}

func TestSpecsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		spec  Spec
		field string
	}{
		{Spec{Algorithm: "MD5"}, "algorithm"},
		{Spec{Algorithm: "none"}, "algorithm"},
		{Spec{Algorithm: Bcrypt, SaltPosition: Prefix}, "salt_position"},
		{Spec{Algorithm: SHA256, SaltPosition: "middle"}, "salt_position"},
		{Spec{Algorithm: Plain, Encoding: Hex}, "encoding"},
		{Spec{Encoding: Hex}, "encoding"},
		{Spec{Algorithm: SHA256, Encoding: "base32"}, "encoding"},
		{Spec{Algorithm: SHA256, MAC: SHA256}, "mac"},
		{Spec{Algorithm: PBKDF2, MAC: SHA1}, "mac"},
		{Spec{Algorithm: Scrypt, Iterations: 1}, "iterations"},
		{Spec{Algorithm: PBKDF2, Iterations: PBKDF2RoundsMax + 1}, "iterations"},
		{Spec{Algorithm: PBKDF2, Iterations: -1}, "iterations"},
	} {
		var p *Problem
		if err := c.spec.Check(); !errors.As(err, &p) || p.Field != c.field {
			t.Errorf("%+v: %v; want a problem of %s", c.spec, err, c.field)
		}
		if ok, err := c.spec.Verify([]byte(horse), horse, ""); ok || err == nil {
			t.Errorf("%+v verifies all the same", c.spec)
		}
	}
}

func TestNoVerbShowsAHash(t *testing.T) {
	h, err := Spec{Algorithm: Plain}.Parse("canary-word", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if s := fmt.Sprintf(verb, h); s != "[hash of plain]" {
			t.Errorf("%s shows %s", verb, s)
		}
	}
}

func TestWhatAnEvaluationTakes(t *testing.T) {
	for _, v := range vectors {
		h, err := v.spec.Parse(v.hash, v.salt)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]int{Argon2id: 256 << 10, Scrypt: 1 << 20}[h.Algorithm()]
		if got := h.MemoryBytes(); got != want || got > ScryptMemoryMax {
			t.Errorf("%s: %d bytes, want %d", v.name, got, want)
		}
	}
}

func TestADummyCostsWhatItLearned(t *testing.T) {
	d := Spec{Algorithm: Bcrypt}.Dummy()
	if got := d.like.Load().Cost(); got != "bcrypt cost=10" {
		t.Errorf("at first it costs %s", got)
	}
	h, err := Spec{}.Parse("$2b$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC", "")
	if err != nil {
		t.Fatal(err)
	}
	d.Learn(h)
	if got := d.like.Load(); got.Cost() != "bcrypt cost=6" || strings.Contains(string(got.sum), "5IuQ") {
		t.Errorf("then it costs %s, or keeps the hash", got.Cost())
	}
	for _, a := range []string{"", Auto, Argon2id, Bcrypt, Scrypt, PBKDF2, SHA512, SHA256, SHA1, MD5, Plain} {
		Spec{Algorithm: a}.Dummy().Spend([]byte(horse))
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.hash, v.salt, v.spec.Algorithm)
	}
	f.Fuzz(func(t *testing.T, stored, salt, algorithm string) {
		h, err := Spec{Algorithm: algorithm}.Parse(stored, salt)
		if err != nil {
			if h != nil || len(err.Error()) > 400 {
				t.Fatal("an error with a hash, or one that tells too much")
			}
			return
		}
		enc := string(h.Encode().Reveal())
		back, err := Decode(enc)
		if err != nil || string(back.Encode().Reveal()) != enc || back.Cost() != h.Cost() {
			t.Fatalf("what was read cannot be kept: %v", err)
		}
		_ = h.StandIn()
	})
}

func BenchmarkFits(b *testing.B) {
	for _, v := range vectors {
		h, err := v.spec.Parse(v.hash, v.salt)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(strings.ReplaceAll(v.name, " ", "_")+"/"+strings.ReplaceAll(h.Cost(), " ", "_"), func(b *testing.B) {
			for b.Loop() {
				h.Fits([]byte(horse))
			}
		})
	}
}
