package pki

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/secret"
)

func newToken(t *testing.T, d *Devices, now time.Time, name string) (Token, secret.Value) {
	t.Helper()
	tok, text, err := d.NewToken(now, name, 15*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return tok, text
}

// wantDenied wants a refusal of a kind that says why.
func wantDenied(t *testing.T, err error, kind, why string) {
	t.Helper()
	if d := AsDenied(err); d == nil || d.Kind != kind || !strings.Contains(d.Why, why) {
		t.Errorf("%v, want a refusal of kind %s that says %q", err, kind, why)
	}
}

func orderFor(t *testing.T, name string) Order {
	t.Helper()
	return Order{Name: name, Life: 30 * dayLong, Public: p256(t).Public()}
}

// TestATokenIsForOneEnrolmentOfOneName: and what is stored of it is of no use.
func TestATokenIsForOneEnrolmentOfOneName(t *testing.T) {
	d, _ := newDevices(t)
	tok, text := newToken(t, d, t0, "dev-1")
	_, other := newToken(t, d, t0, "dev-2")
	if len(text.Reveal()) != 43 {
		t.Errorf("a token of %d characters", len(text.Reveal()))
	}
	stored, err := os.ReadFile(d.path(tokensName))
	if err != nil || strings.Contains(string(stored), string(text.Reveal())) {
		t.Errorf("the token itself is stored (%v)", err)
	}
	for _, row := range []struct {
		name  string
		token string
	}{
		{"dev-1", ""}, {"dev-1", string(other.Reveal())}, {"dev-2", string(text.Reveal())}, {"dev-1", tok.Hash},
		{"dev-1", string(text.Reveal()) + "x"}, {"dev-1", string(text.Reveal())[1:]}, {"nobody", nobody.Hash}, {"DEV-1", string(text.Reveal())},
	} {
		wantDenied(t, d.KnowsToken(t0, row.name, secret.FromString(row.token)), DeniedToken, "nobody has given")
		_, err := d.EnrollToken(t0, orderFor(t, row.name), secret.FromString(row.token))
		wantDenied(t, err, DeniedToken, "nobody has given")
	}
	late := tok.Expires
	wantDenied(t, d.KnowsToken(late, "dev-1", text), DeniedToken, "expired")
	_, err = d.EnrollToken(late, orderFor(t, "dev-1"), text)
	wantDenied(t, err, DeniedToken, "expired")

	if err := d.KnowsToken(t0, "dev-1", text); err != nil {
		t.Error(err)
	}
	out, err := d.EnrollToken(late.Add(-time.Second), orderFor(t, "dev-1"), text)
	if err != nil || out.Name != "dev-1" || out.How != "token "+tok.ID || len(out.Key.Reveal()) > 0 {
		t.Fatalf("%v %+v", err, out)
	}
	_, err = d.EnrollToken(t0, orderFor(t, "dev-1"), text)
	wantDenied(t, err, DeniedToken, "was used on")
	all, err := d.List()
	if err != nil || len(all) != 1 || all[0] != out.DeviceCert {
		t.Errorf("on record: %v %+v", err, all)
	}
}

// TestATokenIsUsedUpBeforeThereIsACertificate: whatever goes wrong then.
func TestATokenIsUsedUpBeforeThereIsACertificate(t *testing.T) {
	d, _ := newDevices(t)
	_, text := newToken(t, d, t0, "dev")
	if _, err := d.EnrollToken(t0, Order{Name: "dev", Life: 0, Public: p256(t).Public()}, text); err == nil {
		t.Fatal("a certificate for no time was issued")
	}
	again, err := OpenDevices(d.dataDir) // as after a crash
	if err != nil {
		t.Fatal(err)
	}
	_, err = again.EnrollToken(t0, orderFor(t, "dev"), text)
	wantDenied(t, err, DeniedToken, "was used on")
}

// TestTwoWithOneToken: exactly one of them gets a certificate.
func TestTwoWithOneToken(t *testing.T) {
	d, _ := newDevices(t)
	_, text := newToken(t, d, t0, "dev")
	var wait sync.WaitGroup
	results := make(chan error, 8)
	for range cap(results) {
		o := orderFor(t, "dev")
		wait.Go(func() {
			other, err := OpenDevices(d.dataDir)
			if err == nil {
				_, err = other.EnrollToken(t0, o, text)
			}
			results <- err
		})
	}
	wait.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
			continue
		}
		wantDenied(t, err, DeniedToken, "was used on")
	}
	if all, err := d.List(); won != 1 || err != nil || len(all) != 1 {
		t.Errorf("%d won, %d certificates, %v", won, len(all), err)
	}
}

func TestTokensAreBounded(t *testing.T) {
	d, _ := newDevices(t)
	f := &tokenFile{Version: tokensVersion}
	for range TokensMax {
		f.Tokens = append(f.Tokens, Token{ID: "x", Name: "dev", Expires: t0.Add(time.Hour)})
	}
	for range tokensKept + 50 {
		f.Tokens = append(f.Tokens, Token{ID: "old", Name: "dev", Expires: t0.Add(-time.Hour)})
	}
	if err := d.writeTokens(f); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.NewToken(t0, "dev", time.Hour); err == nil || !strings.Contains(err.Error(), "which is the most") {
		t.Errorf("one more: %v", err)
	}
	if gone, err := d.DeleteTokens("x"); err != nil || len(gone) != TokensMax {
		t.Errorf("%v: %d deleted", err, len(gone))
	}
	newToken(t, d, t0, "dev")
	if all, err := d.Tokens(); err != nil || len(all) != tokensKept+1 {
		t.Errorf("%v: %d tokens", err, len(all))
	}
	if _, err := d.DeleteTokens("nobody"); err == nil {
		t.Error("what is not there was deleted")
	}
	for _, row := range []struct {
		name string
		life time.Duration
	}{{"a:b", time.Hour}, {"", time.Hour}, {"dev", time.Second}, {"dev", TokenLifeMax + 1}} {
		if _, _, err := d.NewToken(t0, row.name, row.life); err == nil {
			t.Errorf("%q for %s was made", row.name, row.life)
		}
	}
}
