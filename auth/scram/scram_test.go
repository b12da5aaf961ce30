package scram

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	xdg "github.com/xdg-go/scram"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// people are Users in memory.
type people map[string]map[Algorithm]*Keys

func (p people) SCRAM(name string, a Algorithm) (*Keys, uint64) { return p[name][a], uint64(len(name)) }

const password = "canary-5up3r-53cr37"

// desk has alice, "a,b=c" and the authenticator over them.
func desk(t testing.TB, random ...byte) (*auth.Chain, people) {
	t.Helper()
	p := people{}
	for _, name := range []string{"alice", "a,b=c", "ürsula"} {
		p[name] = map[Algorithm]*Keys{}
		for _, a := range Algorithms {
			k, err := Derive(rand.Reader, a, IterationsMin, []byte(password))
			if err != nil {
				t.Fatal(err)
			}
			p[name][a] = k
		}
	}
	o := Options{Name: "scram", Method: "builtin", Algorithms: Algorithms, Iterations: IterationsMin, Users: p, Secret: [32]byte{7}}
	if random != nil {
		o.Random = bytes.NewReader(random)
	}
	return auth.NewChain(New(o)), p
}

// talk is one exchange step by step.
type talk struct {
	testing.TB
	e auth.Exchange
}

func begin(t testing.TB, c *auth.Chain, a Algorithm) *talk {
	t.Helper()
	e, ok := c.Begin(a.Method(), &auth.Request{ClientID: "c1", Listener: "mqtts"})
	if !ok {
		t.Fatal("no exchange of " + a.Method())
	}
	return &talk{t, e}
}

func (k *talk) step(data []byte) (out auth.Result) {
	k.Helper()
	n := 0
	k.e.Step(data, func(r auth.Result) { out = r; n++ })
	if n != 1 {
		k.Fatalf("%d answers", n)
	}
	return out
}

func generator(a Algorithm) xdg.HashGeneratorFcn {
	if a == SHA512 {
		return xdg.SHA512
	}
	return xdg.SHA256
}

// login is a whole exchange with somebody else's client. valid: it has proof of us.
func login(t testing.TB, c *auth.Chain, a Algorithm, name, pw string) (r auth.Result, valid bool) {
	t.Helper()
	client, err := generator(a).NewClient(name, pw, "")
	if err != nil {
		t.Fatal(err)
	}
	conv := client.NewConversation()
	k := begin(t, c, a)
	said := ""
	for range 3 {
		next, err := conv.Step(said)
		if err != nil {
			return r, false
		}
		if r.Outcome == auth.Allow {
			break
		}
		if r = k.step([]byte(next)); r.Outcome != auth.Continue && r.Outcome != auth.Allow {
			return r, false
		}
		said = string(r.Data)
	}
	return r, conv.Valid()
}

func TestAnotherClientLogsIn(t *testing.T) {
	c, _ := desk(t)
	for _, a := range Algorithms {
		for _, name := range []string{"alice", "a,b=c", "ürsula"} {
			r, valid := login(t, c, a, name, password)
			if r.Outcome != auth.Allow || !valid || r.Principal.Identity != name || r.Principal.Username != name ||
				r.Principal.Method != "builtin" || r.Principal.ClientID != "c1" || r.Principal.Proof != uint64(len(name)) {
				t.Errorf("%v %s: %+v, proof of us: %v", a, name, r, valid)
			}
		}
		for _, w := range [][2]string{{"alice", "wrong"}, {"nobody", password}, {"alic", password}} {
			if r, valid := login(t, c, a, w[0], w[1]); r.Outcome != auth.Deny || r.Reason != mqtt.BadUserNameOrPassword || valid || r.Data != nil {
				t.Errorf("%v %v: %+v", a, w, r)
			}
		}
	}
	if _, ok := c.Begin("SCRAM-SHA-1", &auth.Request{}); ok {
		t.Error("SHA-1 is offered")
	}
	if _, ok := c.Begin("SCRAM-SHA-256-PLUS", &auth.Request{}); ok {
		t.Error("channel binding is offered")
	}
}

// The example of RFC 7677 §3, whose messages others agree on. Our nonce there is not of
// our form, so the keys and the proof are tried alone.
func TestTheExampleOfTheRFC(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	k, err := Derive(bytes.NewReader(salt), SHA256, 4096, []byte("pencil"))
	if err != nil {
		t.Fatal(err)
	}
	e := &exchange{
		m:     &mechanism{New(Options{Users: people{"user": {SHA256: k}}}), SHA256},
		req:   &auth.Request{},
		first: &clientFirst{header: "n,,", bare: "n=user,r=rOprNGfwEbeRWgbNEkqO", name: "user"},
		keys:  k, known: true, proof: 4,
		nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		said:  "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	}
	r := e.final([]byte("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	if r.Outcome != auth.Allow || string(r.Data) != "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("%+v", r)
	}
}

// final makes client-final-message for what the server said.
func final(t testing.TB, a Algorithm, k *Keys, pw, bare, said, header string) string {
	t.Helper()
	own, err := Derive(bytes.NewReader(k.Salt[:]), a, k.Iterations, []byte(pw))
	if err != nil || !bytes.Equal(own.Stored, k.Stored) {
		t.Fatal("no keys", err)
	}
	nonce := strings.TrimPrefix(strings.Split(said, ",")[0], "r=")
	without := "c=" + base64.StdEncoding.EncodeToString([]byte(header)) + ",r=" + nonce
	key := clientKey(t, a, k, pw)
	sig := a.mac(k.Stored, bare+","+said+","+without)
	for i := range key {
		key[i] ^= sig[i]
	}
	return without + ",p=" + base64.StdEncoding.EncodeToString(key)
}

// clientKey is what only who has the password can make.
func clientKey(t testing.TB, a Algorithm, k *Keys, pw string) []byte {
	t.Helper()
	salted, err := pbkdf2.Key(a.new, pw, k.Salt[:], k.Iterations, a.Size())
	if err != nil {
		t.Fatal(err)
	}
	return a.mac(salted, "Client Key")
}

func TestTheGS2HeaderIsTheSameInBothMessages(t *testing.T) {
	c, p := desk(t)
	k := p["alice"][SHA256]
	for header, ok := range map[string]bool{"n,,": true, "y,,": true, "n,a=alice,": true} {
		for again, same := range map[string]bool{header: true, "x,,": false, "": false} {
			run := begin(t, c, SHA256)
			said := string(run.step([]byte(header + "n=alice,r=abc")).Data)
			r := run.step([]byte(final(t, SHA256, k, password, "n=alice,r=abc", said, again)))
			if (r.Outcome == auth.Allow) != (ok && same) {
				t.Errorf("%q then %q: %+v", header, again, r)
			}
		}
	}
}

func TestFirstMessagesThatAreRefused(t *testing.T) {
	c, _ := desk(t)
	for name, m := range map[string]string{
		"empty":                   "",
		"cut off":                 "n,",
		"no gs2":                  "n=alice,r=abc",
		"binding":                 "p=tls-exporter,,n=alice,r=abc",
		"unknown flag":            "z,,n=alice,r=abc",
		"other authzid":           "n,a=root,n=alice,r=abc",
		"odd authzid":             "n,root,n=alice,r=abc",
		"mandatory extension":     "n,,m=1,n=alice,r=abc",
		"mandatory extension 2":   "n,,n=alice,r=abc,m=1",
		"no user":                 "n,,n=,r=abc",
		"no nonce":                "n,,n=alice,r=",
		"no nonce at all":         "n,,n=alice",
		"space in nonce":          "n,,n=alice,r=a b",
		"control in nonce":        "n,,n=alice,r=a\x01b",
		"accent in nonce":         "n,,n=alice,r=aüb",
		"long nonce":              "n,,n=alice,r=" + strings.Repeat("a", NonceBytesMax+1),
		"nonce twice":             "n,,n=alice,r=abc,r=def",
		"user twice":              "n,,n=alice,r=abc,n=root",
		"wrong order":             "n,,r=abc,n=alice",
		"no attribute":            "n,,n=alice,r=abc,",
		"no attribute 2":          "n,,n=alice,r=abc,1=2",
		"bad escape":              "n,,n=a=2cb,r=abc",
		"bad escape 2":            "n,,n=alice=,r=abc",
		"long name":               "n,,n=" + strings.Repeat("a", NameBytesMax+1) + ",r=abc",
		"huge":                    "n,,n=alice,r=abc,x=" + strings.Repeat("a", MessageBytesMax),
		"not UTF-8":               "n,,n=\xff,r=abc",
		"NUL":                     "n,,n=ali\x00ce,r=abc",
		"a client-final":          "c=biws,r=abc,p=AAAA",
		"binary":                  "\x00\x00\x00\x05alice",
		"plain user and password": "alice\x00" + password,
	} {
		run := begin(t, c, SHA256)
		r := run.step([]byte(m))
		if r.Outcome != auth.Deny || r.Data != nil || strings.Contains(r.Detail, "alice") || strings.Contains(r.Detail, "canary") {
			t.Errorf("%s: %+v", name, r)
		}
		if r := run.step([]byte("n,,n=alice,r=abc")); r.Outcome != auth.Deny {
			t.Errorf("%s: the exchange goes on after it failed: %+v", name, r)
		}
	}
	run := begin(t, c, SHA256)
	if r := run.step([]byte("n,,n=alice,r=abc,x=optional")); r.Outcome != auth.Continue {
		t.Errorf("an optional extension is refused: %+v", r)
	}
}

// another is a character of base64 that is not c.
func another(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

func TestFinalMessagesThatAreRefused(t *testing.T) {
	c, p := desk(t)
	k := p["alice"][SHA256]
	for name, change := range map[string]func(good, nonce string) string{
		"no proof":    func(g, _ string) string { return g[:strings.Index(g, ",p=")] },
		"empty proof": func(g, _ string) string { return g[:strings.Index(g, ",p=")+3] },
		"short proof": func(g, _ string) string { return g[:strings.Index(g, ",p=")+3] + "AAAA" },
		"long proof":  func(g, _ string) string { return g[:strings.Index(g, ",p=")+3] + strings.Repeat("AAAA", 300) },
		"not base64":  func(g, _ string) string { return g[:len(g)-1] + "!" },
		"a newline":   func(g, _ string) string { return g[:len(g)-4] + "\n" + g[len(g)-4:] },
		"wrong proof": func(g, _ string) string {
			return func(at int) string { return g[:at] + another(g[at]) + g[at+1:] }(strings.Index(g, ",p=") + 3)
		},
		"another nonce":      func(g, n string) string { return strings.Replace(g, n, n[:len(n)-1]+another(n[len(n)-1]), 1) },
		"the client's nonce": func(g, n string) string { return strings.Replace(g, n, "abc", 1) },
		"an extension":       func(g, _ string) string { return strings.Replace(g, ",p=", ",x=1,p=", 1) }, // the proof is not of it
		"a demand":           func(g, _ string) string { return strings.Replace(g, ",p=", ",m=1,p=", 1) },
		"proof twice":        func(g, _ string) string { return g + g[strings.Index(g, ",p="):] },
		"wrong order":        func(g, n string) string { return "r=" + n + ",c=biws" + g[strings.Index(g, ",p="):] },
		"empty":              func(_, _ string) string { return "" },
		"the first again":    func(_, _ string) string { return "n,,n=alice,r=abc" },
	} {
		run := begin(t, c, SHA256)
		said := string(run.step([]byte("n,,n=alice,r=abc")).Data)
		good := final(t, SHA256, k, password, "n=alice,r=abc", said, "n,,")
		nonce := said[2:strings.Index(said, ",")]
		if r := run.step([]byte(change(good, nonce))); r.Outcome != auth.Deny || r.Data != nil {
			t.Errorf("%s: %+v", name, r)
		}
		if r := run.step([]byte(good)); r.Outcome != auth.Deny {
			t.Errorf("%s: a second guess is taken: %+v", name, r)
		}
	}
}

// Who has the password and answers another nonce than was asked is not of this exchange:
// somebody may have him answer for somebody else.
func TestAProofOfAnotherNonce(t *testing.T) {
	c, p := desk(t)
	k := p["alice"][SHA256]
	run := begin(t, c, SHA256)
	said := string(run.step([]byte("n,,n=alice,r=abc")).Data)
	nonce := said[2:strings.Index(said, ",")]
	without := "c=biws,r=" + nonce[:len(nonce)-1] + another(nonce[len(nonce)-1])
	key := clientKey(t, SHA256, k, password)
	for i, b := range SHA256.mac(k.Stored, "n=alice,r=abc,"+said+","+without) {
		key[i] ^= b
	}
	if r := run.step([]byte(without + ",p=" + base64.StdEncoding.EncodeToString(key))); r.Outcome != auth.Deny {
		t.Errorf("%+v", r)
	}
}

// What was recorded of one exchange is worth nothing in the next, and not twice in one.
func TestAReplay(t *testing.T) {
	c, p := desk(t)
	run := begin(t, c, SHA256)
	said := string(run.step([]byte("n,,n=alice,r=abc")).Data)
	good := final(t, SHA256, p["alice"][SHA256], password, "n=alice,r=abc", said, "n,,")
	if r := run.step([]byte(good)); r.Outcome != auth.Allow {
		t.Fatalf("%+v", r)
	}
	if r := run.step([]byte(good)); r.Outcome != auth.Deny {
		t.Errorf("twice: %+v", r)
	}
	next := begin(t, c, SHA256)
	if again := string(next.step([]byte("n,,n=alice,r=abc")).Data); again == said {
		t.Fatal("the same nonce again")
	}
	if r := next.step([]byte(good)); r.Outcome != auth.Deny {
		t.Errorf("in the next exchange: %+v", r)
	}
}

// A user that does not exist is answered as one that does: the same form, a salt that is
// always the same for the name and differs between names and algorithms.
func TestNothingTellsWhoExists(t *testing.T) {
	c, p := desk(t)
	other, _ := desk(t)
	salt := func(c *auth.Chain, a Algorithm, name string) string {
		r := begin(t, c, a).step([]byte("n,,n=" + name + ",r=abc"))
		f := strings.Split(string(r.Data), ",")
		if r.Outcome != auth.Continue || len(f) != 3 || f[2] != "i=4096" || len(f[1]) != 2+24 || len(f[0]) != 2+3+24 {
			t.Fatalf("%s: %+v %s", name, r, r.Data)
		}
		return f[1]
	}
	if s := salt(c, SHA256, "nobody"); s != salt(c, SHA256, "nobody") || s != salt(other, SHA256, "nobody") || s == salt(c, SHA512, "nobody") || s == salt(c, SHA256, "nobody2") {
		t.Error("the salt of a name that nobody has is not like that of a user")
	}
	if salt(c, SHA256, "alice") != salt(c, SHA256, "alice") || salt(c, SHA256, "alice") == salt(other, SHA256, "alice") {
		t.Error("a user's salt is not the user's")
	}
	delete(p["alice"], SHA512)
	if r, _ := login(t, c, SHA512, "alice", password); r.Outcome != auth.Deny {
		t.Errorf("without keys: %+v", r)
	}
	// Nobody knows what a stand-in would accept: not the empty key either.
	m := &mechanism{New(Options{Users: people{}, Iterations: IterationsMin}), SHA256}
	if k := m.standIn("x"); bytes.Equal(k.Stored, make([]byte, 32)) || bytes.Equal(k.Stored[:16], k.Salt[:]) {
		t.Error("a stand-in that can be guessed")
	}
}

func TestWhoIsChangedMeanwhileIsRefused(t *testing.T) {
	c, p := desk(t)
	k := p["alice"][SHA256]
	run := begin(t, c, SHA256)
	said := string(run.step([]byte("n,,n=alice,r=abc")).Data)
	good := final(t, SHA256, k, password, "n=alice,r=abc", said, "n,,")
	delete(p, "alice")
	if r := run.step([]byte(good)); r.Outcome != auth.Deny {
		t.Errorf("%+v", r)
	}
}

func TestTheUserOfCONNECTIsTheUser(t *testing.T) {
	c, _ := desk(t)
	for name, want := range map[string]auth.Outcome{"alice": auth.Continue, "bob": auth.Deny, "": auth.Deny} {
		e, _ := c.Begin("SCRAM-SHA-256", &auth.Request{HasUsername: true, Username: name})
		if r := (&talk{t, e}).step([]byte("n,,n=alice,r=abc")); r.Outcome != want {
			t.Errorf("CONNECT of %q: %+v", name, r)
		}
	}
}

// A client may send no data in CONNECT and wait to be asked, once.
func TestAnEmptyBeginningIsAnsweredOnce(t *testing.T) {
	c, _ := desk(t)
	run := begin(t, c, SHA256)
	if r := run.step(nil); r.Outcome != auth.Continue || len(r.Data) > 0 {
		t.Fatalf("%+v", r)
	}
	if r := run.step(nil); r.Outcome != auth.Deny {
		t.Errorf("%+v", r)
	}
	run = begin(t, c, SHA256)
	run.step(nil)
	if r := run.step([]byte("n,,n=alice,r=abc")); r.Outcome != auth.Continue {
		t.Errorf("%+v", r)
	}
}

func TestKeysThatCannotBeMade(t *testing.T) {
	for pw, iterations := range map[string]int{password: IterationsMin - 1, password + "2": IterationsMax + 1, "bell\a": IterationsMin, "\ue000": IterationsMin, "": IterationsMin, "\u00ad": IterationsMin} {
		if k, err := Derive(rand.Reader, SHA256, iterations, []byte(pw)); err == nil {
			t.Errorf("%q, %d: %v", pw, iterations, k)
		} else if strings.Contains(err.Error(), "canary") {
			t.Error(err)
		}
	}
	k, _ := Derive(rand.Reader, SHA256, IterationsMin, []byte(password))
	if s := fmt.Sprintf("%v %+v %#v %x", k, k, k, k); s != strings.Repeat("[keys of SCRAM-SHA-256] ", 3)+"[keys of SCRAM-SHA-256]" {
		t.Error(s)
	}
	if _, err := Derive(bytes.NewReader(nil), SHA256, IterationsMin, []byte(password)); err == nil {
		t.Error("keys without random bytes")
	}
}

// Two keyboards make ü in two ways; the password is the same.
func TestPasswordsArePrepared(t *testing.T) {
	salt := make([]byte, SaltBytes)
	a, err := Derive(bytes.NewReader(salt), SHA256, IterationsMin, []byte("gru\u00df \u00fc"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Derive(bytes.NewReader(salt), SHA256, IterationsMin, []byte("gru\u00df\u00a0u\u0308"))
	if err != nil || !bytes.Equal(a.Stored, b.Stored) {
		t.Errorf("%v", err)
	}
}

func TestWithoutRandomBytesNobodyIsAnswered(t *testing.T) {
	c, _ := desk(t, 1, 2, 3)
	run := begin(t, c, SHA256)
	if r := run.step([]byte("n,,n=alice,r=abc")); r.Outcome != auth.Unavailable || r.Data != nil {
		t.Errorf("%+v", r)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte("n,,n=alice,r=abc"), []byte("c=biws,r=abc,p="+base64.StdEncoding.EncodeToString(make([]byte, 32))))
	f.Add([]byte("y,a=a=2Cb,n=a=2Cb,r=abc,x=1"), []byte("c=eSws,r=abc,x=1,p="+base64.StdEncoding.EncodeToString(make([]byte, 32))))
	f.Add([]byte("p=tls-unique,,n=a,r=b"), []byte(""))
	c, _ := desk(f)
	f.Fuzz(func(t *testing.T, first, last []byte) {
		run := begin(t, c, SHA256)
		r := run.step(first)
		if r.Outcome == auth.Allow || len(r.Detail) > 200 {
			t.Fatalf("%+v", r)
		}
		if r.Outcome == auth.Continue && len(first) > 0 {
			m, wrong := parseFirst(first)
			if wrong != "" || m.header+m.bare != string(first) || !strings.HasPrefix(string(r.Data), "r="+m.nonce) || len(r.Data) > 400 {
				t.Fatalf("%q: %q %s", first, r.Data, wrong)
			}
		}
		if r := run.step(last); r.Outcome == auth.Allow {
			t.Fatalf("somebody who knows nothing is in: %+v", r)
		}
		if f, wrong := parseFinal(last, 32); wrong == "" && (len(f.proof) != 32 || !strings.HasPrefix(string(last), f.bare+",p=")) {
			t.Fatalf("%q: %+v", last, f)
		}
	})
}

func BenchmarkExchange(b *testing.B) {
	c, p := desk(b)
	k := p["alice"][SHA256]
	key := clientKey(b, SHA256, k, password)
	for b.Loop() {
		run := begin(b, c, SHA256)
		said := string(run.step([]byte("n,,n=alice,r=abc")).Data)
		without := "c=biws,r=" + said[2:strings.Index(said, ",")]
		sig := SHA256.mac(k.Stored, "n=alice,r=abc,"+said+","+without)
		for i := range sig {
			sig[i] ^= key[i]
		}
		if r := run.step([]byte(without + ",p=" + base64.StdEncoding.EncodeToString(sig))); r.Outcome != auth.Allow {
			b.Fatal(r)
		}
	}
}

func BenchmarkDerive(b *testing.B) {
	for _, a := range Algorithms {
		b.Run(a.String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := Derive(rand.Reader, a, IterationsDefault, []byte(password)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
