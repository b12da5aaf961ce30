package jwt

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// What is no token is for the next authenticator; what looks like one is for nobody else.
func TestWhatIsNoTokenIsIgnored(t *testing.T) {
	d := newDesk(t, byES(t))
	for _, password := range []string{"", "secret", "correct horse battery staple", "e.g. this one", "pass.word", "extra.word", "e-mail.word", "a@b.c.d", ".", "..", "...", strings.Repeat(".", 64<<10), strings.Repeat("x", 64<<10), "eyJhbGciOiJub25lIn0"} {
		d.wants(password[:min(len(password), 20)], password, auth.Ignore, "")
	}
	r := request("")
	r.HasPassword = false
	d.wantsOf("no password", r, "", auth.Ignore, "")
	for _, password := range []string{"a.b.c", "eyJ.", "eyJ...", "ewo.x", "e30.e30.AA", "A.B." + strings.Repeat("C", 60_000)} {
		d.wants(password[:min(len(password), 20)], password, auth.Deny, "the token")
	}
}

// Who a client is comes from the token. The user name of CONNECT is the same, or nothing.
func TestIdentity(t *testing.T) {
	token := sign(t, "ES256", ecKey, with(map[string]any{"device": "d-9", "roles": []string{"reader", "writer"}, "level": 3, "ok": true, "client": "c1"}))
	named := func(user, password string) *auth.Request {
		r := request(password)
		r.Username, r.HasUsername = user, true
		return r
	}
	d := newDesk(t, byES(t))
	r := d.wants("no user name", token, auth.Allow, "")
	want := auth.Principal{Identity: "pump-7", Username: "pump-7", Claims: r.Principal.Claims}
	if r.Principal != want {
		t.Errorf("principal %+v", r.Principal)
	}
	if c := r.Principal.Claims; c.TokenID != "t-1" || !c.Issued.Equal(start) || !c.Until.Equal(start.Add(time.Hour+5*time.Second)) || c.Superuser || c.Attrs != nil || c.Rules != nil {
		t.Errorf("claims %+v", c)
	}
	d.wantsOf("its user name", named("pump-7", token), token, auth.Allow, "")
	d.wantsOf("another user name", named("boss", token), token, auth.Deny, "another user name")

	o := byES(t)
	o.AnyUsername, o.Gives.Identity, o.Gives.BeyondExpiry = true, "device", true
	d = newDesk(t, o)
	if r := d.wantsOf("any user name", named("unused", token), token, auth.Allow, ""); r.Principal.Identity != "d-9" || r.Principal.Username != "d-9" || !r.Principal.Claims.Until.IsZero() {
		t.Errorf("principal %+v", r.Principal)
	}

	o = byES(t)
	o.FromUsername = true
	d = newDesk(t, o)
	d.wantsOf("in the user name", named(token, "anything"), token, auth.Allow, "")
	d.wantsOf("in the password", named("pump-7", token), token, auth.Ignore, "")

	for claim, c := range map[string]struct {
		want    string
		outcome auth.Outcome
	}{
		"sub": {"${username}", auth.Allow}, "client": {"${clientid}", auth.Allow}, "jti": {"t-1", auth.Allow}, "roles": {"writer", auth.Allow},
		"level": {"3", auth.Allow}, "ok": {"true", auth.Allow}, "device": {"d-${clientid}", auth.Deny}, "other": {"x", auth.Deny},
	} {
		o := byES(t)
		o.Demands.Claims = map[string]string{claim: c.want}
		newDesk(t, o).wantsOf(claim+" is "+c.want, named("pump-7", token), token, c.outcome, "")
	}
	o = byES(t)
	o.Demands.Claims = map[string]string{"sub": "${username}"}
	d = newDesk(t, o)
	d.wants("${username} of a client without", token, auth.Deny, "claims.sub")
	if d.wantsOf("a pattern in the name", named(".*", token), token, auth.Deny, "").Reason != mqtt.NotAuthorized {
		t.Error("a token for somebody else is not 0x87")
	}
	for _, claims := range []map[string]string{{"exp": "1"}, {"sub": "${password}"}, {"sub": "${username"}, {"": "x"}, {"a": strings.Repeat("x", 2000)}} {
		o.Demands.Claims = claims
		if _, err := New(o); err == nil {
			t.Errorf("claims %v are taken", claims)
		}
	}
}

// What a token gives is believed where the operator says so, and bounded.
func TestGives(t *testing.T) {
	attrs := map[string]any{"site": "berlin", "line-2": "x"}
	super := with(map[string]any{"is_superuser": true, "client_attrs": attrs})
	d := newDesk(t, byES(t))
	if c := d.wants("nothing is believed", sign(t, "ES256", ecKey, super), auth.Allow, "").Principal.Claims; c.Superuser || c.Attrs != nil {
		t.Errorf("claims %+v", c)
	}
	o := byES(t)
	o.Gives.Superuser, o.Gives.Attributes = true, true
	d = newDesk(t, o)
	if c := d.wants("all is believed", sign(t, "ES256", ecKey, super), auth.Allow, "").Principal.Claims; !c.Superuser || len(c.Attrs) != 2 || c.Attrs["site"] != "berlin" {
		t.Errorf("claims %+v", c)
	}
	many := map[string]any{}
	for i := range AttributesMax + 1 {
		many[fmt.Sprint("a", i)] = "x"
	}
	for name, c := range map[string]struct {
		changes map[string]any
		detail  string
	}{
		"superuser is a text":      {map[string]any{"is_superuser": "true"}, "neither true nor false"},
		"superuser is 1":           {map[string]any{"is_superuser": 1}, "neither true nor false"},
		"attributes are a list":    {map[string]any{"client_attrs": []string{"a"}}, "are no object"},
		"too many":                 {map[string]any{"client_attrs": many}, "are 33; the most is 32"},
		"a number":                 {map[string]any{"client_attrs": map[string]any{"a": 1}}, "a that is no text"},
		"long":                     {map[string]any{"client_attrs": map[string]any{"a": strings.Repeat("x", 257)}}, "at most 256 bytes"},
		"a line end":               {map[string]any{"client_attrs": map[string]any{"a": "x\ny"}}, "invisible"},
		"a name with a brace":      {map[string]any{"client_attrs": map[string]any{"a}": "x"}}, "letters, digits"},
		"an empty name":            {map[string]any{"client_attrs": map[string]any{"": "x"}}, "letters, digits"},
		"a name with another text": {map[string]any{"client_attrs": map[string]any{"ä": "x"}}, "letters, digits"},
	} {
		d.wants(name, sign(t, "ES256", ecKey, with(c.changes)), auth.Deny, c.detail)
	}
}

// Both forms of acl become rules of this client; what cannot be understood refuses it.
func TestACL(t *testing.T) {
	d := newDesk(t, byES(t))
	for name, c := range map[string]struct {
		acl   any
		rules []string
	}{
		"topics": {map[string]any{"pub": []string{"a/${clientid}"}, "sub": "b/#", "all": []string{"eq c"}}, []string{
			`allow: all, topics: [{eq: "c"}]`, `allow: publish, topics: ["a/${clientid}"]`, `allow: subscribe, topics: ["b/#"]`, `deny: all, topics: ["#"]`}},
		"nothing":                 {map[string]any{}, []string{`deny: all, topics: ["#"]`}},
		"an empty list of topics": {map[string]any{"pub": []string{}}, []string{`deny: all, topics: ["#"]`}},
		"rules": {[]any{
			map[string]any{"permission": "allow", "action": "publish", "topic": "a", "qos": []int{0, 1}, "retain": false},
			map[string]any{"permission": "deny", "action": "sub", "topics": []string{"b", "c"}, "qos": "1,2", "ipaddr": "10.0.0.0/8"},
			map[string]any{"permission": "allow", "action": "all", "topic": "d", "qos": 2, "retain": "all", "ipaddr": "10.0.0.1"},
		}, []string{
			`allow: publish, topics: ["a"], qos: [0, 1], retain: false`, `deny: subscribe, addresses: [10.0.0.0/8], topics: ["b", "c"], qos: [1, 2]`,
			`allow: all, addresses: [10.0.0.1/32], topics: ["d"], qos: [2]`}},
		"no rules": {[]any{}, nil},
	} {
		r := d.wants(name, sign(t, "ES256", ecKey, with(map[string]any{"acl": c.acl})), auth.Allow, "")
		if r.Outcome != auth.Allow {
			continue
		}
		own := r.Principal.Claims.Rules
		if len(own) != 1 || own[0].Source != Source || len(own[0].Rules) != len(c.rules) {
			t.Errorf("%s: %+v", name, own)
			continue
		}
		for i := range c.rules {
			if got := own[0].Rules[i].Text; got != c.rules[i] {
				t.Errorf("%s: rule %d is %s, want %s", name, i, got, c.rules[i])
			}
		}
	}
	rule := func(changes map[string]any) any {
		o := map[string]any{"permission": "allow", "action": "publish", "topic": "a"}
		for k, v := range changes {
			if o[k] = v; v == nil {
				delete(o, k)
			}
		}
		return []any{o}
	}
	many := make([]any, auth.OwnMax+1)
	for i := range many {
		many[i] = map[string]any{"permission": "allow", "action": "publish", "topic": "a"}
	}
	for name, c := range map[string]struct {
		acl    any
		detail string
	}{
		"a text":                   {"#", "neither an object of topics nor a list"},
		"null":                     {[]any{nil}, "rule 1 that is no object"},
		"an unknown kind of topic": {map[string]any{"pubsub": []string{"a"}}, `"pubsub", which is none of`},
		"a number as topic":        {map[string]any{"pub": []any{1}}, "neither a text nor"},
		"a bad filter":             {map[string]any{"pub": []string{"a/#/b"}}, "not a topic filter"},
		"$SYS":                     {map[string]any{"pub": []string{"$SYS/x"}}, "cannot be granted"},
		"no permission":            {rule(map[string]any{"permission": nil}), "permission is missing"},
		"another permission":       {rule(map[string]any{"permission": "Allow"}), "neither allow nor deny"},
		"no action":                {rule(map[string]any{"action": nil}), "action"},
		"another action":           {rule(map[string]any{"action": "read"}), "none of publish"},
		"no topic":                 {rule(map[string]any{"topic": nil}), "topics"},
		"qos 3":                    {rule(map[string]any{"qos": 3}), "none of 0, 1 and 2"},
		"qos is empty":             {rule(map[string]any{"qos": []int{}}), "none of 0, 1 and 2"},
		"retain is 2":              {rule(map[string]any{"retain": 2}), "none of true"},
		"an unknown field":         {rule(map[string]any{"username": "boss"}), `"username" is no field`},
		"a pattern of names":       {rule(map[string]any{"clientid_re": "^a"}), `"clientid_re" is no field`},
		"no network":               {rule(map[string]any{"ipaddr": "all"}), "neither an address nor"},
		"too many":                 {many, "101 rules; the most is 100"},
	} {
		d.wants(name, sign(t, "ES256", ecKey, with(map[string]any{"acl": c.acl})), auth.Deny, c.detail)
	}
	o := byES(t)
	o.Gives.ACL = ""
	newDesk(t, o).wants("no claim is read", sign(t, "ES256", ecKey, with(map[string]any{"acl": "#"})), auth.Allow, "")
}

// A verified token is not verified again for a while; what else it must be is judged anew.
func TestVerifiedTokensAreKept(t *testing.T) {
	o := byES(t)
	o.CacheFor = time.Minute
	revoked := ""
	o.Revoked = func(id, identity string, issued time.Time) string {
		if id != "t-1" || identity != "pump-7" || !issued.Equal(start) {
			t.Errorf("asked about %q %q %v", id, identity, issued)
		}
		return revoked
	}
	d := newDesk(t, o)
	token := sign(t, "ES256", ecKey, with(map[string]any{"exp": start.Add(30 * time.Second).Unix()}))
	inline := func() bool {
		was := false
		done := make(chan auth.Result, 1)
		d.Authenticate(request(token), func(r auth.Result) { done <- r })
		was = len(done) == 1
		<-done
		return was
	}
	d.wants("verified", token, auth.Allow, "")
	if !inline() {
		t.Error("the second time it is verified again")
	}
	revoked = "by uid 0"
	d.wants("revoked", token, auth.Deny, "was revoked: by uid 0")
	revoked = ""
	other := request(token)
	other.Username = "boss"
	d.wantsOf("with another user name", other, token, auth.Deny, "another user name")
	d.clock.Advance(40 * time.Second)
	d.wants("expired meanwhile", token, auth.Deny, "has expired")

	c := newCache(time.Minute, 4)
	for i := range 100 {
		c.put(start, 0, tokenHash{byte(i)}, &verified{})
	}
	if n := c.len(); n > 4 {
		t.Errorf("%d are kept", n)
	}
	if c.find(start, tokenHash{99}) == nil || c.find(start, tokenHash{1}) != nil || c.find(start.Add(time.Minute), tokenHash{99}) != nil || c.find(start.Add(-time.Second), tokenHash{99}) != nil {
		t.Error("the cache finds what it must not, or not what it has")
	}
	epoch := c.now()
	c.drop()
	c.put(start, epoch, tokenHash{7}, &verified{}) // verified by keys from before
	if c.len() != 0 || c.find(start, tokenHash{99}) != nil {
		t.Error("what was dropped is found")
	}
}

// A client of MQTT 5.0 proves itself by AUTH, too, and renews its token so.
func TestExchange(t *testing.T) {
	o := byHS()
	d := newDesk(t, o)
	chain := auth.NewChain(d.Authenticator)
	step := func(e auth.Exchange, data string) auth.Result {
		got := make(chan auth.Result, 1)
		b := []byte(data)
		e.Step(b, func(r auth.Result) { got <- r })
		clear(b) // the connection's buffer is used again
		return <-got
	}
	token := sign(t, "HS256", []byte(hmacSecret), good())
	begin := func() auth.Exchange {
		e, ok := chain.Begin(Method, request(""))
		if !ok {
			t.Fatal("the chain has no such method")
		}
		return e
	}
	if r := step(begin(), token); r.Outcome != auth.Allow || r.Principal.Identity != "pump-7" || r.Principal.Method != "tokens" {
		t.Errorf("%+v", r)
	}
	for _, data := range []string{"", "password", token + "x", strings.Repeat(".", 70_000)} {
		if r := step(begin(), data); r.Outcome != auth.Deny {
			t.Errorf("%.20q: %+v", data, r)
		}
	}
	e := begin()
	step(e, token)
	if r := step(e, token); r.Outcome != auth.Deny {
		t.Errorf("a second step: %+v", r)
	}
}

// Too many at a time, and after the end, are told to come again.
func TestBusy(t *testing.T) {
	o := byES(t)
	o.Queue = 1
	d := newDesk(t, o)
	token := sign(t, "ES256", ecKey, good())
	stuck, go_ := make(chan struct{}), make(chan struct{})
	d.Authenticate(request(token), func(auth.Result) { close(stuck); <-go_ })
	<-stuck
	answered := make(chan auth.Result, 2)
	d.Authenticate(request(token), func(r auth.Result) { answered <- r }) // waits
	if r := d.wants("one more", token, auth.Unavailable, "too many wait"); r.Reason != mqtt.ServerBusy {
		t.Errorf("reason %v", r.Reason)
	}
	d.stop() // what waits at the end is refused
	close(go_)
	if r := <-answered; r.Outcome != auth.Unavailable {
		t.Errorf("at the end: %+v", r)
	}
	d.Close()
	d.wants("after the end", token, auth.Unavailable, "")
}

func TestSecretsInBase64(t *testing.T) {
	o := byHS()
	o.Keys.Secret, o.Keys.SecretEncoded = secret.FromString("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"), true
	newDesk(t, o).wants("base64", sign(t, "HS256", []byte(hmacSecret[:32]), good()), auth.Allow, "")
}

func TestLimitsOfOptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"leeway":      func(o *Options) { o.Demands.Leeway = 61 * time.Second },
		"lifetime":    func(o *Options) { o.Demands.LifetimeMax = -1 },
		"cache":       func(o *Options) { o.CacheFor = 2 * time.Hour },
		"token_bytes": func(o *Options) { o.TokenBytes = 100 },
		"audience":    func(o *Options) { o.Demands.Audience = []string{""} },
	} {
		o := byES(t)
		change(&o)
		if err := CheckForm(&o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzToken(f *testing.F) {
	s, err := func() (*settled, error) {
		o := byHS()
		o.Gives.Superuser, o.Gives.Attributes = true, true
		return o.settle(true)
	}()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"alg":"HS256","typ":"JWT"}`, jsonOf(with(map[string]any{"acl": []any{map[string]any{"permission": "allow", "action": "all", "topic": "a", "qos": 1}}})))
	f.Add(`{"alg":"HS256","kid":"x","crit":[]}`, jsonOf(with(map[string]any{"acl": map[string]any{"pub": "a", "sub": []string{"b"}}, "client_attrs": map[string]any{"a": "b"}})))
	f.Add(`{"alg":"none"}`, `{"sub":"a","sub":"b","exp":1e99}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		for _, token := range []string{forge(header, payload, hmacSecret), header} {
			v, r := s.verify(start, []byte(token), s.static)
			if (v == nil) == (r == nil) {
				t.Fatal("neither a verdict nor a refusal, or both")
			}
			if v != nil && (v.identity == "" || v.until.IsZero() || v.claims == nil) {
				t.Fatalf("%+v", v)
			}
		}
	})
}
