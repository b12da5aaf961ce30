package jwt

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// What is known to have opened other doors. Each of these is refused, and none is passed on
// to the next authenticator.
func TestAttacks(t *testing.T) {
	d := newDesk(t, byES(t))
	public := string(pemOf(t, ecKey.Public()))
	claims := jsonOf(good())
	okay := sign(t, "ES256", ecKey, good())
	part := strings.Split(okay, ".")
	hs := func(header string) string { return forge(header, claims, public) }
	es := func(headers ...string) string { return sign(t, "ES256", ecKey, good(), headers...) }
	embedded, _ := jose.NewSigner(jose.SigningKey{Algorithm: "ES256", Key: otherEC}, &jose.SignerOptions{EmbedJWK: true})
	jws, err := embedded.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	withJWK, _ := jws.CompactSerialize()
	zero := base64.RawURLEncoding.EncodeToString(make([]byte, 64))
	order := ecKey.Params().N
	sig, _ := base64.RawURLEncoding.DecodeString(part[2])
	malleable := new(big.Int).Add(new(big.Int).SetBytes(sig[32:]), order) // s+n has 33 bytes, or wraps
	for name, c := range map[string]struct{ token, detail string }{
		"no algorithm":             {b64(`{"typ":"JWT"}`) + "." + part[1] + "." + part[2], "names no algorithm"},
		"none":                     {b64(`{"alg":"none"}`) + "." + part[1] + "." + part[2], "the algorithm none"},
		"none, no signature":       {b64(`{"alg":"none"}`) + "." + part[1] + ".", "empty signature"},
		"nOnE":                     {b64(`{"alg":"nOnE"}`) + "." + part[1] + "." + part[2], "the algorithm none"},
		"an empty algorithm":       {b64(`{"alg":""}`) + "." + part[1] + "." + part[2], "not known"},
		"algorithms in a list":     {b64(`{"alg":["ES256"]}`) + "." + part[1] + "." + part[2], "names no algorithm"},
		"the public key as secret": {hs(`{"alg":"HS256"}`), "by HS256, which is not among"},
		"es256, small":             {b64(`{"alg":"es256"}`) + "." + part[1] + "." + part[2], "not known"},
		"a key of another alg":     {b64(`{"alg":"ES384"}`) + "." + part[1] + "." + part[2], "by ES384, which is not among"},
		"RS256 of another key":     {sign(t, "RS256", rsaKey, good()), "by RS256, which is not among"},
		"another key":              {sign(t, "ES256", otherEC, good()), "signature that is not good"},
		"jwk in the header":        {withJWK, "signature that is not good"},
		"jku in the header":        {sign(t, "ES256", otherEC, good(), "jku", "https://127.0.0.1:1/keys"), "signature that is not good"},
		"x5u in the header":        {sign(t, "ES256", otherEC, good(), "x5u", "https://127.0.0.1:1/cert"), "signature that is not good"},
		"x5c in the header":        {b64(`{"alg":"ES256","x5c":["MIIB"]}`) + "." + part[1] + "." + part[2], "cannot be read"},
		"x5c that is no list":      {b64(`{"alg":"ES256","x5c":7}`) + "." + part[1] + "." + part[2], "cannot be read"},
		"kid is a path":            {sign(t, "ES256", otherEC, good(), "kid", "../../../../dev/null"), "signature that is not good"},
		"kid is SQL":               {sign(t, "ES256", otherEC, good(), "kid", "x' UNION SELECT 'key"), "signature that is not good"},
		"kid is a number":          {b64(`{"alg":"ES256","kid":1}`) + "." + part[1] + "." + part[2], "a kid that is no name"},
		"kid is long":              {es("kid", strings.Repeat("k", 257)), "a kid that is no name"},
		"crit":                     {b64(`{"alg":"ES256","crit":["exp"],"exp":1}`) + "." + part[1] + "." + part[2], "has crit"},
		"b64 is false":             {b64(`{"alg":"ES256","b64":false,"crit":["b64"]}`) + "." + part[1] + "." + part[2], "has crit"},
		"b64 without crit":         {b64(`{"alg":"ES256","b64":false}`) + "." + part[1] + "." + part[2], "has b64"},
		"compressed":               {b64(`{"alg":"ES256","zip":"DEF"}`) + "." + part[1] + "." + part[2], "has zip"},
		"nested":                   {es("cty", "JWT"), "has cty"},
		"a logout token":           {es("typ", "logout+jwt"), "typ that is neither"},
		"encrypted":                {b64(`{"alg":"dir","enc":"A128GCM"}`) + "...." + part[2], "5 parts"},
		"alg twice":                {b64(`{"alg":"ES256","alg":"none"}`) + "." + part[1] + "." + part[2], "header that has a name twice"},
		"Alg beside alg":           {b64(`{"Alg":"ES256"}`) + "." + part[1] + "." + part[2], "names no algorithm"},
		"a list as header":         {b64(`["ES256"]`) + "." + part[1] + "." + part[2], "header that is no JSON object"},
		"two values as header":     {b64(`{"alg":"ES256"}{}`) + "." + part[1] + "." + part[2], "header that is not JSON"},
		"a header that is no text": {b64("{\"alg\":\"ES256\",\"\xff\":1}") + "." + part[1] + "." + part[2], "not UTF-8"},
		"an empty signature":       {part[0] + "." + part[1] + ".", "empty signature"},
		"a short signature":        {part[0] + "." + part[1] + "." + part[2][:20], "not good"},
		"r and s are zero":         {part[0] + "." + part[1] + "." + zero, "not good"},
		"s and the order":          {part[0] + "." + part[1] + "." + base64.RawURLEncoding.EncodeToString(append(sig[:32:32], malleable.Bytes()...)), "not good"},
		"other claims":             {part[0] + "." + b64(jsonOf(with(map[string]any{"sub": "boss"}))) + "." + part[2], "not good"},
		"padding":                  {okay + "=", "not base64url"},
		"standard base64":          {part[0] + "." + part[1] + "." + strings.Repeat("+/", 43), "not base64url"},
		"a line end":               {part[0] + "\n." + part[1] + "." + part[2], "not base64url"},
		"two parts":                {part[0] + "." + part[1], "2 parts"},
		"four parts":               {okay + "." + part[2], "4 parts"},
		"many dots":                {"eyJ" + strings.Repeat(".", 8000), "8001 parts"},
		"huge":                     {"eyJ" + strings.Repeat(".", 60_000), "token_bytes is 8192"},
		"huge, one part":           {part[0] + "." + strings.Repeat("A", 60_000) + "." + part[2], "token_bytes is 8192"},
		"many names":               {b64(`{"alg":"ES256"`+strings.Repeat(`,"a":1`, 500)+`}`) + "." + part[1] + "." + part[2], "twice"},
		"deep":                     {b64(`{"alg":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`}`) + "." + part[1] + "." + part[2], "nested too deep"},
	} {
		d.wants(name, c.token, auth.Deny, c.detail)
	}
	d.wants("the good one", okay, auth.Allow, "")
	d.wants("with a jku, which nobody asks", es("jku", "https://127.0.0.1:1/keys"), auth.Allow, "")
	d.wants("at+jwt", es("typ", "application/at+JWT"), auth.Allow, "")
}

// What a token says is judged after its signature.
func TestClaimsThatAreRefused(t *testing.T) {
	o := byES(t)
	o.Demands.Issuer, o.Demands.Audience, o.Demands.LifetimeMax = "https://issuer.example", []string{"mqtt", "other"}, 24*time.Hour
	d := newDesk(t, o)
	base := map[string]any{"iss": "https://issuer.example", "aud": "mqtt"}
	at := func(d time.Duration) int64 { return start.Add(d).Unix() }
	for name, c := range map[string]struct {
		claims map[string]any
		detail string
	}{
		"expired":              {map[string]any{"exp": at(-6 * time.Second)}, "has expired at 2026-03-01T11:59:54Z"},
		"no exp":               {map[string]any{"exp": nil}, "has no exp"},
		"exp is a text":        {map[string]any{"exp": "2026-03-01T13:00:00Z"}, "exp that is no number"},
		"exp is a number text": {map[string]any{"exp": fmt.Sprint(at(time.Hour))}, "exp that is no number"},
		"exp is null":          {map[string]any{"exp": []any{nil}}, "exp that is no number"},
		"exp is negative":      {map[string]any{"exp": -1}, "exp that is no time"},
		"exp is far":           {map[string]any{"exp": 1e15}, "exp that is no time"},
		"exp is very far":      {map[string]any{"exp": 1e300}, "exp that is no time"},
		"not yet":              {map[string]any{"nbf": at(6 * time.Second)}, "begins at 2026-03-01T12:00:06Z"},
		"nbf is a text":        {map[string]any{"nbf": "soon"}, "nbf that is no number"},
		"of tomorrow":          {map[string]any{"iat": at(time.Minute)}, "has not come yet"},
		"too long":             {map[string]any{"exp": at(25 * time.Hour)}, "lifetime_max is 24h"},
		"too long, no iat":     {map[string]any{"exp": at(25 * time.Hour), "iat": nil}, "good for another 25h0m0s"},
		"too long, made so":    {map[string]any{"iat": at(-24 * time.Hour)}, "lifetime_max is 24h"},
		"no iss":               {map[string]any{"iss": nil}, "has no iss"},
		"another iss":          {map[string]any{"iss": "https://issuer.example/"}, "and issuer is"},
		"iss in a list":        {map[string]any{"iss": []string{"https://issuer.example"}}, "iss that is no text"},
		"no aud":               {map[string]any{"aud": nil}, "has no aud"},
		"another aud":          {map[string]any{"aud": "Mqtt"}, `aud "Mqtt"`},
		"other auds":           {map[string]any{"aud": []string{"a", "b"}}, "2 entries in aud"},
		"aud is a number":      {map[string]any{"aud": 7}, "neither a text nor a list"},
		"aud is an object":     {map[string]any{"aud": map[string]any{"mqtt": true}}, "neither a text nor a list"},
		"aud has a number":     {map[string]any{"aud": []any{7, "mqtt"}}, "neither a text nor a list"},
		"no sub":               {map[string]any{"sub": nil}, "has no sub"},
		"sub is empty":         {map[string]any{"sub": ""}, "sub that is no text"},
		"sub is a number":      {map[string]any{"sub": 7}, "sub that is no text"},
		"sub is a wildcard":    {map[string]any{"sub": "#"}, "holds one of + # /"},
		"sub has a level":      {map[string]any{"sub": "a/b"}, "holds one of + # /"},
		"sub is reserved":      {map[string]any{"sub": "$SYS"}, "starts with $"},
		"sub is invisible":     {map[string]any{"sub": "a\u202eb"}, "invisible"},
		"sub is long":          {map[string]any{"sub": strings.Repeat("a", 257)}, "at most 256"},
		"jti is a number":      {map[string]any{"jti": 7}, "jti that is no text"},
		"jti has a newline":    {map[string]any{"jti": "a\n"}, "jti with control characters"},
		"jti has a C1 control": {map[string]any{"jti": "a\u0085"}, "jti with control characters"},
		"jti is long":          {map[string]any{"jti": strings.Repeat("a", 1025)}, "jti of 1025 bytes"},
	} {
		claims := with(base)
		for k, v := range c.claims {
			if claims[k] = v; v == nil {
				delete(claims, k)
			}
		}
		d.wants(name, sign(t, "ES256", ecKey, claims), auth.Deny, c.detail)
	}
	for name, c := range map[string]map[string]any{
		"within leeway of exp": {"exp": at(-4 * time.Second), "iat": at(-time.Hour)},
		"within leeway of nbf": {"nbf": at(5 * time.Second)},
		"aud in a list":        {"aud": []string{"x", "other"}},
		"a fraction":           {"exp": float64(at(time.Hour)) + 0.5},
		"no iat":               {"iat": nil},
	} {
		claims := with(base)
		for k, v := range c {
			if claims[k] = v; v == nil {
				delete(claims, k)
			}
		}
		d.wants(name, sign(t, "ES256", ecKey, claims), auth.Allow, "")
	}
	for name, payload := range map[string]struct{ text, detail string }{
		"a name twice":       {`{"sub":"a","sub":"b","exp":1}`, "payload that has a name twice"},
		"a name twice below": {`{"sub":"a","acl":{"pub":["x"],"pub":["#"]}}`, "payload that has a name twice"},
		"no JSON":            {`sub=a`, "payload that is not JSON"},
		"a list":             {`[]`, "payload that is no JSON object"},
		"more behind it":     {`{"sub":"a"} {}`, "payload that is not JSON"},
		"deep":               {strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 50), "nested too deep"},
		"EXP":                {fmt.Sprintf(`{"sub":"a","EXP":%d}`, at(time.Hour)), "has no exp"},
	} {
		d.wants(name, sign(t, "ES256", ecKey, []byte(payload.text)), auth.Deny, payload.detail)
	}
}

// Keys with which nobody should verify are refused before a token comes.
func TestKeysThatAreRefused(t *testing.T) {
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	private := "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n"
	public := func(k any) Keys { return Keys{Public: []File{{"k.pem", pemOf(t, k)}}} }
	for name, c := range map[string]struct {
		keys   Keys
		algs   []string
		detail string
	}{
		"RSA of 1024 bits":           {public(weak.Public()), []string{"RS256"}, "1024 bits, the least is 2048"},
		"a short secret":             {Keys{Secret: secret.FromString(hmacSecret[:31])}, []string{"HS256"}, "31 bytes; HS256 wants 32"},
		"a secret short for HS512":   {Keys{Secret: secret.FromString(hmacSecret[:63])}, []string{"HS256", "HS512"}, "63 bytes; HS512 wants 64"},
		"a public key as secret":     {Keys{Secret: secret.New(pemOf(t, rsaKey.Public()))}, []string{"HS256"}, "is PEM"},
		"a private key":              {Keys{Public: []File{{"k.pem", []byte(private)}}}, []string{"EdDSA"}, "a private key, which is the issuer's alone"},
		"HS with a public key":       {public(rsaKey.Public()), []string{"RS256", "HS256"}, "HS256 is for a secret"},
		"RS with a secret":           {Keys{Secret: secret.FromString(hmacSecret)}, []string{"HS256", "RS256"}, "RS256 is for a public key"},
		"ES256 with an RSA key":      {public(rsaKey.Public()), []string{"ES256"}, "a key for none of algorithms"},
		"ES256 with P-384":           {public(ec384.Public()), []string{"ES256"}, "a key for none of algorithms"},
		"an algorithm without a key": {public(rsaKey.Public()), []string{"RS256", "ES256"}, "ES256 has no key"},
		"none":                       {public(rsaKey.Public()), []string{"none"}, `"none" is none that is known`},
		"no algorithm":               {public(rsaKey.Public()), nil, "algorithms is empty"},
		"an algorithm twice":         {public(rsaKey.Public()), []string{"RS256", "RS256"}, "twice"},
		"no key":                     {Keys{}, []string{"RS256"}, "exactly one of"},
		"two kinds of keys":          {Keys{Secret: secret.FromString(hmacSecret), Public: []File{{"k", nil}}}, []string{"HS256"}, "exactly one of"},
		"an empty file":              {Keys{Public: []File{{"k.pem", []byte("\n")}}}, []string{"RS256"}, "has no key in PEM"},
		"text behind the key":        {Keys{Public: []File{{"k.pem", append(pemOf(t, rsaKey.Public()), "x"...)}}}, []string{"RS256"}, "is no PEM"},
		"no base64":                  {Keys{Secret: secret.FromString("!"), SecretEncoded: true}, []string{"HS256"}, "no base64"},
		"http":                       {Keys{Set: &Set{URL: "http://issuer.example/keys"}}, []string{"RS256"}, "is not https"},
		"a name that looks local":    {Keys{Set: &Set{URL: "http://localhost/keys"}}, []string{"RS256"}, "is not https"},
		"a file":                     {Keys{Set: &Set{URL: "file:///etc/passwd"}}, []string{"RS256"}, "jwks.url"},
	} {
		_, err := New(Options{Algorithms: c.algs, Keys: c.keys})
		if err == nil || !strings.Contains(err.Error(), c.detail) {
			t.Errorf("%s: %v, want %q", name, err, c.detail)
		}
		if err != nil && strings.Contains(err.Error(), hmacSecret[:16]) {
			t.Errorf("%s: the error shows the secret", name)
		}
	}
}

// Every algorithm verifies with its own key, and with no key of another kind.
func TestAlgorithms(t *testing.T) {
	keys := map[string]struct{ private, public any }{
		"HS256": {[]byte(hmacSecret), nil}, "HS384": {[]byte(hmacSecret), nil}, "HS512": {[]byte(hmacSecret), nil},
		"RS256": {rsaKey, rsaKey.Public()}, "RS384": {rsaKey, rsaKey.Public()}, "RS512": {rsaKey, rsaKey.Public()},
		"PS256": {rsaKey, rsaKey.Public()}, "PS384": {rsaKey, rsaKey.Public()}, "PS512": {rsaKey, rsaKey.Public()},
		"ES256": {ecKey, ecKey.Public()}, "ES384": {ec384, ec384.Public()}, "ES512": {ec521, ec521.Public()}, "EdDSA": {ed, edPublic},
	}
	tokens := map[string]string{}
	for alg, k := range keys {
		tokens[alg] = sign(t, alg, k.private, good())
	}
	for _, alg := range Algorithms {
		o := Options{Algorithms: []string{alg}}
		if k := keys[alg]; k.public == nil {
			o.Keys.Secret = secret.FromString(hmacSecret)
		} else {
			o.Keys.Public = []File{{"k.pem", pemOf(t, k.public)}}
		}
		d := newDesk(t, o)
		for other, token := range tokens {
			outcome := auth.Deny
			if other == alg {
				outcome = auth.Allow
			}
			d.wants(alg+" given "+other, token, outcome, "")
		}
	}
}
