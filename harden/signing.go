package harden

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/harden/signed"
)

// StaleAfter is how old the newest report of a broker may be: two of the intervals at which it
// looks at itself. What is older says nothing of now.
const StaleAfter = 2 * lookEvery

// SignedAs is the place of a report in the chain of its node, and what the next one will say of it.
type SignedAs struct {
	signed.Link
	SHA256 string
}

// KeepSigned makes the report the next one of the node whose data directory that is, and
// answers it as JSON as it was signed. With wait it waits for who does the same right now.
func (r *Report) KeepSigned(dir, checker string, wait bool) (text []byte, err error) {
	text, at, err := signed.Append(dir, wait, func(at signed.Link) ([]byte, error) {
		var b bytes.Buffer
		err := r.writeJSON(&b, checker, &at)
		return b.Bytes(), err
	})
	if err == nil {
		r.Signed = &SignedAs{at, signed.Hash(text)}
	}
	return text, err
}

// Verified is a report whose signature is good.
type Verified struct {
	Snapshot
	Name string // of its file
}

// Verify judges the signature of each report, given by name, and that those of one node follow
// each other. It answers those that are good, by number, and an error that names each that is not.
func Verify(reports map[string][]byte, public ed25519.PublicKey) (good []Verified, err error) {
	var wrong []error
	var members []signed.Member
	byName := map[string]Verified{}
	for name, text := range reports {
		v, err := verifyOne(text, public)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", printable(name), err))
			continue
		}
		v.Name = name
		byName[name] = v
		members = append(members, signed.Member{Name: printable(name), Link: *v.Chain, Hash: signed.Hash(text)})
	}
	slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	members, err = signed.Chain(members)
	for _, m := range members {
		for name, v := range byName {
			if printable(name) == m.Name && v.Chain.Sequence == m.Sequence {
				good = append(good, v)
			}
		}
	}
	return good, errors.Join(append(wrong, err)...)
}

func verifyOne(text []byte, public ed25519.PublicKey) (Verified, error) {
	payload, err := signed.Verify(text, public)
	if errors.Is(err, signed.ErrOtherKey) {
		return Verified{}, fmt.Errorf("%w: it names %s, and this is %s; --key takes that of the node, which redoubt doctor --public-key prints there", err, printable(signed.SignedBy(text)), signed.KeyID(public))
	}
	if errors.Is(err, signed.ErrUnsigned) {
		return Verified{}, fmt.Errorf("%w; -o json of a run that could write to the data directory is signed, as long as no other program writes it anew", err)
	}
	if err != nil {
		return Verified{}, err
	}
	kept, s, err := readReport(payload)
	switch {
	case err != nil:
		return Verified{}, err
	case kept.Kind != reportKind || s.Chain == nil:
		return Verified{}, errors.New("what the key has signed is no report of the hardening")
	}
	return Verified{Snapshot: s}, nil
}

// Stale tells whether a report of then says nothing of now any more.
func Stale(then, now time.Time) bool { return now.Sub(then) > StaleAfter }
