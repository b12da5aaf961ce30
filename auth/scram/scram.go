// Package scram is SCRAM-SHA-256 and SCRAM-SHA-512 over AUTH packets: the client proves
// that it knows the password, and the broker that it knows the user, and neither the
// password nor anything that stands for it is sent. What the broker keeps of a user are
// keys that were derived from the password when it was set; whoever reads them can guess
// at passwords, and pretend to be the broker, and cannot log in.
//
// A user that does not exist, or has no keys, is led through the same steps with a salt
// that stays the same, so that only the last one says no. Everything is a few HMACs, so
// steps answer at once, on the loop that asks. Channel binding is not offered.
//
// Rules: RFC 5802, RFC 7677 (SHA-256), RFC 4013 (SASLprep of passwords), MQTT 5.0 §4.12.
package scram

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"io"

	"github.com/redoubtmq/redoubt/auth"
)

// Algorithm is a hash function. The numbers are kept on disk.
type Algorithm byte

// The algorithms.
const (
	SHA256 Algorithm = 1
	SHA512 Algorithm = 2
)

// Algorithms are all there are.
var Algorithms = []Algorithm{SHA256, SHA512}

// Method is the name clients use in CONNECT.
func (a Algorithm) Method() string {
	if a == SHA512 {
		return "SCRAM-SHA-512"
	}
	return "SCRAM-SHA-256"
}

// String is the word of the configuration.
func (a Algorithm) String() string {
	if a == SHA512 {
		return "sha512"
	}
	return "sha256"
}

// Parse finds an algorithm by that word.
func Parse(word string) (a Algorithm, ok bool) {
	for _, a := range Algorithms {
		if a.String() == word {
			return a, true
		}
	}
	return 0, false
}

func (a Algorithm) new() hash.Hash {
	if a == SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

// Size is the length of its keys in bytes.
func (a Algorithm) Size() int {
	if a == SHA512 {
		return sha512.Size
	}
	return sha256.Size
}

// Users are those who may have keys.
type Users interface {
	// SCRAM answers the keys of a user and what proves the credential they were made of
	// (auth.Principal.Proof). nil: no such user, or one without keys of this algorithm.
	SCRAM(name string, a Algorithm) (k *Keys, proof uint64)
}

// Count is how many users have keys of so many iterations.
type Count struct{ Iterations, Users int }

// Counter is Users who know which iterations there are. What new keys get may have changed
// since the keys of some were made; those who do not exist must have both.
type Counter interface {
	// SCRAMCounts answers them in the order of their iterations. It does not block.
	SCRAMCounts(a Algorithm) []Count
}

// Options are what an authenticator is made of.
type Options struct {
	Name       string      // in configuration
	Method     string      // auth.Principal.Method of who is let in: whose users they are
	Algorithms []Algorithm // offered
	Iterations int         // that unknown users seem to have where Users is no Counter, or has none: what new keys get
	Users      Users
	// Secret is what the salts of unknown users are made of. It must stay the same over
	// restarts, or these salts change and those of users do not.
	Secret [32]byte
	// Random is crypto/rand but for tests.
	Random io.Reader
}

// Authenticator offers the mechanisms. It implements auth.Mechanisms.
type Authenticator struct {
	opt  Options
	list []auth.Mechanism
}

// New makes an authenticator. It holds nothing that must be closed.
func New(opt Options) *Authenticator {
	if opt.Random == nil {
		opt.Random = rand.Reader
	}
	a := &Authenticator{opt: opt}
	for _, alg := range opt.Algorithms {
		a.list = append(a.list, &mechanism{a, alg})
	}
	return a
}

// Name implements auth.Authenticator.
func (a *Authenticator) Name() string { return a.opt.Name }

// Authenticate implements auth.Authenticator: a client without an Authentication Method is
// somebody else's.
func (a *Authenticator) Authenticate(_ *auth.Request, done func(auth.Result)) {
	done(auth.Result{Outcome: auth.Ignore, Detail: "the client names no Authentication Method of SCRAM; a trial cannot show one"})
}

// Mechanisms implements auth.Mechanisms.
func (a *Authenticator) Mechanisms() []auth.Mechanism { return a.list }

type mechanism struct {
	*Authenticator
	alg Algorithm
}

// Method implements auth.Mechanism.
func (m *mechanism) Method() string { return m.alg.Method() }

// Begin implements auth.Mechanism.
func (m *mechanism) Begin(req *auth.Request) auth.Exchange { return &exchange{m: m, req: req} }

// keysOf answers the keys of a user, or stand-ins that no proof fits.
func (m *mechanism) keysOf(name string) (k *Keys, proof uint64, known bool) {
	k, proof = m.opt.Users.SCRAM(name, m.alg)
	fake := m.standIn(name) // for every name, so that its time tells nothing
	if k == nil {
		return fake, 0, false
	}
	return k, proof, true
}

// standIn is what a user without keys seems to have. As for a user who gets new keys, the
// salt is another one when the iterations are.
func (m *mechanism) standIn(name string) *Keys {
	k := &Keys{Algorithm: m.alg, Iterations: m.iterationsOf(name), Stored: make([]byte, m.alg.Size()), Server: make([]byte, m.alg.Size())}
	sum := m.secret("keys", name, k.Iterations)
	copy(k.Salt[:], sum)
	copy(k.Stored, sum[SaltBytes:])
	return k
}

// secret is what a name stands for.
func (m *mechanism) secret(what, name string, n int) []byte {
	h := hmac.New(sha512.New, m.opt.Secret[:])
	h.Write(binary.BigEndian.AppendUint32([]byte{byte(m.alg)}, uint32(n))) //nolint:gosec // at most IterationsMax
	_, _ = io.WriteString(h, what+"\x00"+name)
	return h.Sum(nil)
}

// iterationsOf are those of a user who exists, drawn by the name: each number as often as
// users have it. While users go from one to a higher one, so do names that nobody has.
func (m *mechanism) iterationsOf(name string) int {
	drawn := binary.BigEndian.Uint64(m.secret("iterations", name, 0)) >> 1 // whoever exists too, so that time tells nothing
	c, ok := m.opt.Users.(Counter)
	if !ok {
		return m.opt.Iterations
	}
	counts, all := c.SCRAMCounts(m.alg), 0
	for _, n := range counts {
		all += n.Users
	}
	at := float64(drawn) / (1 << 63) * float64(all)
	for _, n := range counts {
		if at -= float64(n.Users); at < 0 {
			return n.Iterations
		}
	}
	if len(counts) > 0 {
		return counts[len(counts)-1].Iterations
	}
	return m.opt.Iterations
}

// nonce is 144 random bits of our own.
func (m *mechanism) nonce() (string, error) {
	var b [18]byte
	if _, err := io.ReadFull(m.opt.Random, b[:]); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b[:]), nil
}

var _ auth.Mechanisms = (*Authenticator)(nil)
