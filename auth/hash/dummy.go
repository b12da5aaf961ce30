package hash

import (
	"bytes"
	"sync/atomic"
)

// Dummy stands in for a user that a store does not have, so that the time of a refusal
// does not tell who exists. It costs what the last hash cost that it learned of: a store
// whose users have hashes of different costs tells them apart by time, and no stand-in
// can help that. It is safe for concurrent use.
type Dummy struct{ like atomic.Pointer[Hash] }

// Dummy makes the stand-in of a store. Before it has learned anything it costs what s
// says, or what is usual now for the algorithm.
func (s Spec) Dummy() *Dummy {
	h := &Hash{alg: s.algorithm(), position: or(s.SaltPosition, Prefix)}
	salt, sum := make([]byte, 16), make([]byte, 32)
	switch h.alg {
	case Auto, Argon2id:
		*h = Hash{alg: Argon2id, n: 19 * 1024, r: 2, p: 1, salt: salt, sum: sum}
	case Bcrypt:
		*h = Hash{alg: Bcrypt, n: 10, sum: []byte("$2b$10$" + string(bytes.Repeat([]byte{'.'}, 53)))}
	case Scrypt:
		*h = Hash{alg: Scrypt, n: 16, r: 8, p: 1, salt: salt, sum: sum}
	case PBKDF2:
		h.mac, h.n, h.salt, h.sum = or(s.MAC, SHA256), max(s.Iterations, 1), salt, sum
		if s.Iterations == 0 {
			h.n = 600_000
		}
	case Plain:
		h.salt, h.sum = salt, sum
	default:
		if !simple(h.alg) {
			*h = Hash{alg: Argon2id, n: 19 * 1024, r: 2, p: 1, salt: salt, sum: sum} // no Spec that Check accepts
			break
		}
		h.salt, h.sum = salt, make([]byte, newDigest(h.alg)().Size())
	}
	d := &Dummy{}
	d.like.Store(h)
	return d
}

// Learn has the stand-in cost what h costs. Call it with every hash that was read.
func (d *Dummy) Learn(h *Hash) {
	if d.like.Load().Cost() != h.Cost() {
		d.like.Store(h.StandIn())
	}
}

// Spend costs one evaluation, and nothing else comes of it.
func (d *Dummy) Spend(password []byte) { d.like.Load().evaluate(password) }

// StandIn is a hash that costs what h costs and has nothing else of it. What it answers
// means nothing.
func (h *Hash) StandIn() *Hash {
	s := *h
	s.salt, s.sum = make([]byte, len(h.salt)), make([]byte, len(h.sum))
	if h.alg == Bcrypt {
		copy(s.sum, h.sum[:7]) // $2b$CC$
		for i := 7; i < len(s.sum); i++ {
			s.sum[i] = '.'
		}
	}
	return &s
}
