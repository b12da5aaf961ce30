package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/internal/secret"
)

const (
	tokensName    = "tokens.json" // beside issued.json
	tokensVersion = 1
	tokenBytes    = 32
	// TokensMax bounds the tokens that wait for their device: everybody who reaches the port
	// makes the broker read the file. A fleet has claim certificates.
	TokensMax = 1000
	// tokensKept is how many are kept that have been used or have expired, so that the log
	// can say so. Whoever has one that is forgotten is refused like anybody.
	tokensKept     = 1000
	tokensBytesMax = 4 << 20
	// TokenLifeMax bounds the time a token waits. It is a password that is carried about.
	TokenLifeMax = 7 * 24 * time.Hour
)

// Token is a password for one enrolment of one device. What is kept of it is a hash.
type Token struct {
	ID      string    `json:"id"` // to delete it by; tells nothing of the token
	Name    string    `json:"name"`
	Salt    string    `json:"salt"` // hexadecimal, as Hash
	Hash    string    `json:"hash"` // SHA-256 of salt and token. The token is 256 random bits: nothing slower is needed
	Created time.Time `json:"created_at"`
	Expires time.Time `json:"expires_at"`
	Used    time.Time `json:"used_at,omitzero"`
}

// Open tells whether it still lets a device in.
func (t *Token) Open(now time.Time) bool { return t.Used.IsZero() && now.Before(t.Expires) }

// sum is the hash of a token.
func (t *Token) sum(token []byte) string {
	salt, _ := hex.DecodeString(t.Salt)
	h := sha256.Sum256(append(salt, token...))
	return hex.EncodeToString(h[:])
}

type tokenFile struct {
	Version int     `json:"version"`
	Tokens  []Token `json:"tokens"` // oldest first
}

// NewToken makes a token for a device and answers it; nobody can do so again.
func (d *Devices) NewToken(now time.Time, name string, life time.Duration) (t Token, token secret.Value, err error) {
	if err := checkCommonName(name); err != nil {
		return t, token, err
	}
	if strings.Contains(name, ":") {
		return t, token, fmt.Errorf("%q has a colon, which ends the name where the device shows the token (HTTP Basic)", name)
	}
	if life < time.Minute || life > TokenLifeMax {
		return t, token, fmt.Errorf("a token for %s; it can be for a minute to %d days", life, int(TokenLifeMax.Hours())/24)
	}
	unlock, err := d.lock(certsWait)
	if err != nil {
		return t, token, err
	}
	defer unlock()
	f, err := d.readTokens()
	if err != nil {
		return t, token, err
	}
	f.forget(now)
	if n := len(f.Tokens) - f.closed(now); n >= TokensMax {
		return t, token, fmt.Errorf("%d tokens wait for their devices, which is the most: delete some (redoubt cert token list), or use claim certificates", n)
	}
	raw, salt, id := make([]byte, tokenBytes), make([]byte, 16), make([]byte, 4)
	for _, b := range [][]byte{raw, salt, id} {
		_, _ = rand.Read(b) // never fails: it ends the program instead
	}
	token = secret.FromString(base64.RawURLEncoding.EncodeToString(raw))
	t = Token{ID: hex.EncodeToString(id), Name: name, Salt: hex.EncodeToString(salt), Created: now.UTC().Truncate(time.Second), Expires: now.Add(life).UTC().Truncate(time.Second)}
	t.Hash = t.sum(token.Reveal())
	f.Tokens = append(f.Tokens, t)
	if err := d.writeTokens(f); err != nil {
		return t, secret.Value{}, err
	}
	return t, token, nil
}

// Tokens are all there are, oldest first, also some that have been used or have expired.
func (d *Devices) Tokens() ([]Token, error) {
	f, err := d.readTokens()
	if err != nil {
		return nil, err
	}
	return f.Tokens, nil
}

// DeleteTokens deletes the token with an id, or all of a name.
func (d *Devices) DeleteTokens(which string) (gone []Token, err error) {
	unlock, err := d.lock(certsWait)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := d.readTokens()
	if err != nil {
		return nil, err
	}
	f.Tokens = slices.DeleteFunc(f.Tokens, func(t Token) bool {
		if t.ID == which || t.Name == which {
			gone = append(gone, t)
			return true
		}
		return false
	})
	if len(gone) == 0 {
		return nil, fmt.Errorf("there is no token %q and none of a device of that name; see redoubt cert token list", which)
	}
	return gone, d.writeTokens(f)
}

// closed counts those that let nobody in.
func (f *tokenFile) closed(now time.Time) (n int) {
	for i := range f.Tokens {
		if !f.Tokens[i].Open(now) {
			n++
		}
	}
	return n
}

// forget drops the oldest of those that let nobody in.
func (f *tokenFile) forget(now time.Time) {
	over := f.closed(now) - tokensKept
	f.Tokens = slices.DeleteFunc(f.Tokens, func(t Token) bool {
		if over > 0 && !t.Open(now) {
			over--
			return true
		}
		return false
	})
}

// nobody is compared with where no token of the name is open, so that the time it takes
// does not tell which names have one.
var nobody = Token{Hash: strings.Repeat("0", 2*sha256.Size)}

// find is the open token of a name, or why there is none; the errors are *Denied.
func (f *tokenFile) find(now time.Time, name string, token secret.Value) (*Token, error) {
	var found *Token
	known := nobody.matches(token)
	for i := range f.Tokens {
		t := &f.Tokens[i]
		if t.Name == name && t.matches(token) {
			known, found = true, t
		}
	}
	switch {
	case !known || found == nil:
		return nil, Deny(DeniedToken, "nobody has given %q this token", name)
	case !found.Used.IsZero():
		return nil, Deny(DeniedToken, "token %s of %q was used on %s", found.ID, name, day(found.Used))
	case !now.Before(found.Expires):
		return nil, Deny(DeniedToken, "token %s of %q expired on %s", found.ID, name, day(found.Expires))
	}
	return found, nil
}

// matches compares in a time that does not depend on how much is right.
func (t *Token) matches(token secret.Value) bool {
	return subtle.ConstantTimeCompare([]byte(t.sum(token.Reveal())), []byte(t.Hash)) == 1
}

// readTokens is what there is; a CA that never had tokens has no file.
func (d *Devices) readTokens() (*tokenFile, error) {
	file := d.path(tokensName)
	b, err := newChecker().readMost(file, OwnerOnly, tokensBytesMax)
	if missing(err) {
		return &tokenFile{Version: tokensVersion}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the tokens: %w", err)
	}
	f := &tokenFile{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(f); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w; delete it, and all tokens are gone", file, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || f.Version != tokensVersion {
		return nil, fmt.Errorf("%s is of version %d, or has something behind its end; this program knows version %d. Delete it, and all tokens are gone", file, f.Version, tokensVersion)
	}
	return f, nil
}

func (d *Devices) writeTokens(f *tokenFile) error {
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return fmt.Errorf("record the tokens: %w", err)
	}
	return safefile.Write(d.path(tokensName), append(b, '\n'), keyMode)
}
