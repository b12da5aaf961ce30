package admin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth/tokens"
)

// fakeTokens are real revocations that nobody keeps.
type fakeTokens struct {
	*tokens.Revoked
	fail error
}

func newTokens() *fakeTokens {
	f := &fakeTokens{}
	f.Revoked, _ = tokens.Open(f)
	return f
}

func (f *fakeTokens) Tokens(func([]byte) error) error { return nil }
func (f *fakeTokens) Write(...tokens.Kept) error      { return f.fail }

func (f *fakeTokens) RevokedTokens(now time.Time) []*tokens.Revocation { return f.List(now) }

func (f *fakeTokens) RevokeTokens(r *tokens.Revocation, before func()) error {
	return f.Add(r, before)
}

func (f *fakeTokens) RestoreTokens(as, who string, before func(*tokens.Revocation)) error {
	return f.Restore(as, who, before)
}

func TestTokensOverTheAPI(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	later := t0.Add(time.Hour).Format(time.RFC3339)
	info, err := r.client.RevokeTokens(ctx, &NewRevocation{As: "jti", Who: "a/b?c", Reason: "stolen", Until: later})
	if err != nil || !strings.HasPrefix(info.By, "uid ") || info.At != "2026-03-01T12:00:00Z" || info.Until != later || info.Before != "" {
		t.Errorf("%+v, %v", info, err)
	}
	if info, err = r.client.RevokeTokens(ctx, &NewRevocation{As: "subject", Who: "bob", Before: "2026-03-01T13:00:00+01:00"}); err != nil || info.Before != "2026-03-01T12:00:00Z" || info.Until != "infinity" {
		t.Errorf("%+v, %v", info, err)
	}
	if log := r.log.String(); !strings.Contains(log, "tokens revoked by an operator") || !strings.Contains(log, `"who":"a/b?c"`) {
		t.Errorf("the log does not say so: %s", log)
	}
	for why, n := range map[string]NewRevocation{
		"expected value to be one of": {As: "iss", Who: "x"},
		"needs the time before":       {As: "subject", Who: "x"},
		"a jti has none":              {As: "jti", Who: "x", Before: later},
		"which is no time":            {As: "subject", Who: "x", Before: "yesterday"},
		"is no time":                  {As: "jti", Who: "x", Until: "soon"},
		"in the past":                 {As: "jti", Who: "x", Until: "2020-01-01T00:00:00Z"},
		"control characters":          {As: "jti", Who: "x\n"},
	} {
		if _, err := r.client.RevokeTokens(ctx, &n); status(err) != 422 || !strings.Contains(err.Error(), why) {
			t.Errorf("%+v: %v", n, err)
		}
	}
	var got []string
	if err := r.client.EachRevokedToken(ctx, nil, func(i *RevocationInfo) error { got = append(got, i.As+" "+i.Who); return nil }); err != nil || fmt.Sprint(got) != "[jti a/b?c subject bob]" {
		t.Errorf("%q, %v", got, err)
	}
	if err := r.client.RestoreTokens(ctx, "jti", "a/b?c"); err != nil || r.tokens.Len() != 1 {
		t.Errorf("%v", err)
	}
	if err := r.client.RestoreTokens(ctx, "jti", "a/b?c"); status(err) != 404 {
		t.Errorf("%v", err)
	}
	r.tokens.fail = fmt.Errorf("disk full")
	if _, err := r.client.RevokeTokens(ctx, &NewRevocation{As: "jti", Who: "x"}); status(err) != 503 {
		t.Errorf("not kept: %v", err)
	}
}
