package jwt

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/builtin"
)

// verified is a token whose signature is good, with what it says. It is immutable.
type verified struct {
	set      map[string]any // its claims
	identity string
	until    time.Time // exp
	begins   time.Time // nbf; zero: at once
	issued   time.Time // iat; 1970 if it has none, which is before anything that is revoked
	id       string    // jti; empty: it has none
	claims   *auth.Claims
}

// textBytesMax bounds a claim that is kept or shown, in bytes.
const textBytesMax = 1024

// read understands a payload whose signature is good.
func (s *settled) read(payload []byte) (*verified, *refusal) {
	o, err := object(payload)
	if err != nil {
		return nil, bad("has a payload that %v", err)
	}
	v := &verified{set: o, issued: time.Unix(0, 0)}
	var there bool
	var r *refusal
	if v.until, there, r = when(o, "exp"); r != nil {
		return nil, r
	}
	if !there {
		return nil, bad("has no exp: it would be good for ever")
	}
	if v.begins, _, r = when(o, "nbf"); r != nil {
		return nil, r
	}
	if at, there, r := when(o, "iat"); r != nil {
		return nil, r
	} else if there {
		v.issued = at
		if most := s.Demands.LifetimeMax; most > 0 && v.until.Sub(at) > most {
			return nil, unfit("is good for %v from its iat on; lifetime_max is %v", v.until.Sub(at), most)
		}
	}
	if v.id, r = s.text(o, "jti", false); r != nil {
		return nil, r
	}
	if strings.ContainsFunc(v.id, unicode.IsControl) { // as package tokens takes them
		return nil, unfit("has a jti with control characters: it could not be revoked")
	}
	if r := s.parties(o); r != nil {
		return nil, r
	}
	if v.identity, r = s.text(o, s.Gives.Identity, true); r != nil {
		return nil, r
	}
	if err := builtin.CheckName(v.identity); err != nil {
		return nil, unfit("says in %s who it is for: %v", s.Gives.Identity, err)
	}
	v.claims, r = s.gives(v)
	return v, r
}

// farthest is the last second that is read as a time, in the year 9999.
const farthest = 253402300799

// when reads a NumericDate [RFC 7519 §2].
func when(o map[string]any, name string) (at time.Time, there bool, r *refusal) {
	v, there := o[name]
	if !there {
		return at, false, nil
	}
	n, is := v.(json.Number)
	if !is {
		return at, true, bad("has an %s that is no number of seconds", name)
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || f < 0 || f > farthest {
		return at, true, bad("has an %s that is no time of these millennia", name)
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), true, nil
}

// text is a claim that is a text.
func (s *settled) text(o map[string]any, name string, wanted bool) (string, *refusal) {
	v, there := o[name]
	if !there && !wanted {
		return "", nil
	}
	t, is := v.(string)
	switch {
	case !there:
		return "", unfit("has no %s", name)
	case !is || t == "":
		return "", unfit("has a %s that is no text", name)
	case len(t) > textBytesMax:
		return "", unfit("has a %s of %d bytes; the most is %d", name, len(t), textBytesMax)
	}
	return t, nil
}

// parties judges who has made the token, and for whom.
func (s *settled) parties(o map[string]any) *refusal {
	if want := s.Demands.Issuer; want != "" {
		if iss, r := s.text(o, "iss", true); r != nil {
			return r
		} else if iss != want {
			return unfit("is of iss %s, and issuer is %s", shown(iss), shown(want))
		}
	}
	if len(s.Demands.Audience) == 0 {
		return nil
	}
	switch aud := o["aud"].(type) {
	case string:
		if slices.Contains(s.Demands.Audience, aud) {
			return nil
		}
		return unfit("is for aud %s, which is not in audience", shown(aud))
	case []any:
		for _, a := range aud {
			t, is := a.(string)
			if !is {
				return unfit("has an aud that is neither a text nor a list of texts")
			}
			if slices.Contains(s.Demands.Audience, t) {
				return nil
			}
		}
		return unfit("has %d entries in aud, none of which is in audience", len(aud))
	case nil:
		if _, there := o["aud"]; !there {
			return unfit("has no aud")
		}
	}
	return unfit("has an aud that is neither a text nor a list of texts")
}

// judge is what of a verified token depends on the hour, on what was revoked, and on the
// client. nil: it is let in.
func (s *settled) judge(now time.Time, v *verified, req *auth.Request) *refusal {
	leeway := s.Demands.Leeway
	switch most := s.Demands.LifetimeMax; {
	case !now.Before(v.until.Add(leeway)):
		return bad("has expired at %s", stamp(v.until))
	case now.Add(leeway).Before(v.begins):
		return bad("begins at %s (nbf)", stamp(v.begins))
	case now.Add(leeway).Before(v.issued):
		return bad("was made at %s (iat), which has not come yet", stamp(v.issued))
	case most > 0 && v.until.Sub(now) > most+leeway:
		return unfit("is good for another %v; lifetime_max is %v", v.until.Sub(now).Round(time.Second), most)
	}
	if s.Revoked != nil {
		if why := s.Revoked(v.id, v.identity, v.issued); why != "" {
			return bad("was revoked: %s", why)
		}
	}
	if !s.FromUsername && !s.AnyUsername && req.Username != "" && req.Username != v.identity {
		return unfit("is for %s, and the client has another user name", shown(v.identity))
	}
	for i := range s.checks {
		c := &s.checks[i]
		if want, ok := c.want(req); !ok || !says(v.set[c.claim], want) {
			return unfit("does not have the %s that claims.%s wants for this client", c.claim, c.claim)
		}
	}
	return nil
}

// says tells whether a claim is this text, or a list that has it. It is compared as it is
// written: nothing in it is a pattern.
func says(claim any, want string) bool {
	switch c := claim.(type) {
	case string:
		return c == want
	case json.Number:
		return c.String() == want
	case bool:
		return strconv.FormatBool(c) == want
	case []any:
		return slices.ContainsFunc(c, func(e any) bool {
			t, is := e.(string)
			return is && t == want
		})
	}
	return false
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// shown is text of an issuer, or of the configuration, for a log line.
func shown(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return strconv.Quote(s)
}
