package builtin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/auth/scram"
)

// The content of a kept user who has nothing else is, and has exactly this length:
//
//	byte     contentFormat
//	byte     kind of the credential
//	16 bytes salt
//	32 bytes hash
//	8 bytes  when it was made, Unix seconds, big endian
//	8 bytes  when its password was set, the same
//
// The name is beside it. There is one way to write a user, so that two contents are
// equal if the users are. The parameters of the hash belong to the format.
//
// One with an imported hash or SCRAM keys has contentFormatMore there, and behind it:
//
//	byte     1: keys are to be made at the next login; else 0
//	2 bytes  length of the imported hash, big endian, and the hash; it is there if the
//	         kind is foreign, and the hash above is then zero
//	byte     how many SCRAM keys follow, by algorithm: one byte of algorithm, 4 of
//	         iterations, the salt, StoredKey and ServerKey
const (
	contentFormat     = 1
	contentFormatMore = 2
	contentBytes      = 2 + saltBytes + sumBytes + 8 + 8
)

// timeMax is the end of the year 9999: JSON knows no later time, and none before 0000.
const (
	timeMin = -62_167_219_200
	timeMax = 253_402_300_799
)

// content is how r is kept.
func (r *record) content() []byte {
	b := make([]byte, 0, contentBytes)
	format := byte(contentFormat)
	if r.more() {
		format = contentFormatMore
	}
	b = append(b, format, byte(r.cred.kind))
	b = append(b, r.cred.salt[:]...)
	b = append(b, r.cred.sum[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.created.Unix())) //nolint:gosec // as bits
	b = binary.BigEndian.AppendUint64(b, uint64(r.changed.Unix())) //nolint:gosec // as bits
	if r.more() {
		b = r.appendMore(b)
	}
	return b
}

// more tells whether r has what the first format has no place for.
func (r *record) more() bool { return r.cred.kind == foreign || len(r.keys) > 0 || r.wants }

func (r *record) appendMore(b []byte) []byte {
	b = append(b, flag(r.wants))
	var hash []byte
	if r.imported != nil {
		hash = r.imported.Encode().Reveal()
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(hash))) //nolint:gosec // at most hash.EncodedBytesMax
	b = append(b, hash...)
	b = append(b, byte(len(r.keys)))
	for _, k := range r.keys {
		b = append(b, byte(k.Algorithm))
		b = binary.BigEndian.AppendUint32(b, uint32(k.Iterations)) //nolint:gosec // at most scram.IterationsMax
		b = append(append(append(b, k.Salt[:]...), k.Stored...), k.Server...)
	}
	return b
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// decodeKept reads a kept user. It keeps no part of content, and errors show nothing
// of it but its first byte.
func decodeKept(name string, content []byte) (*record, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	switch {
	case len(content) == 0:
		return nil, errors.New("its record is empty")
	case content[0] != contentFormat && content[0] != contentFormatMore:
		return nil, fmt.Errorf("its record has format %d and this version reads %d and %d", content[0], contentFormat, contentFormatMore)
	case content[0] == contentFormat && len(content) != contentBytes, len(content) < contentBytes:
		return nil, fmt.Errorf("its record has %d bytes, want %d", len(content), contentBytes)
	case kind(content[1]) > foreign || kind(content[1]) == foreign && content[0] == contentFormat:
		return nil, fmt.Errorf("its password is of kind %d, which this version does not know", content[1])
	}
	r := &record{name: name, cred: credential{kind: kind(content[1])}}
	rest := content[2:]
	rest = rest[copy(r.cred.salt[:], rest):]
	rest = rest[copy(r.cred.sum[:], rest):]
	for _, into := range []*time.Time{&r.created, &r.changed} {
		at := int64(binary.BigEndian.Uint64(rest)) //nolint:gosec // as bits
		if at < timeMin || at > timeMax {
			return nil, errors.New("a time in its record is not one")
		}
		*into, rest = time.Unix(at, 0).UTC(), rest[8:]
	}
	if content[0] == contentFormatMore {
		if err := r.decodeMore(rest); err != nil {
			return nil, err
		}
	}
	return r, nil
}

var errMore = errors.New("the second half of its record is damaged")

// decodeMore reads what appendMore wrote, and nothing else.
func (r *record) decodeMore(b []byte) error {
	take := func(n int) (part []byte) {
		if n > len(b) {
			return make([]byte, n) // zeros are refused by whoever looks at them, and so is the missing end
		}
		part, b = b[:n], b[n:]
		return part
	}
	if len(b) < 4 || b[0] > 1 {
		return errMore
	}
	r.wants = take(1)[0] == 1
	n := int(binary.BigEndian.Uint16(take(2)))
	if (n > 0) != (r.cred.kind == foreign) || n >= len(b) {
		return errMore
	}
	if n > 0 {
		var err error
		if r.imported, err = decodeForeign(string(take(n))); err != nil {
			return fmt.Errorf("the imported hash of its record is damaged: %w", err)
		}
	}
	for range take(1)[0] {
		a := scram.Algorithm(take(1)[0])
		k := &scram.Keys{Algorithm: a, Iterations: int(binary.BigEndian.Uint32(take(4)))}
		if a != scram.SHA256 && a != scram.SHA512 || k.Iterations < scram.IterationsMin || k.Iterations > scram.IterationsMax || len(b) < scram.SaltBytes+2*a.Size() {
			return errMore
		}
		copy(k.Salt[:], take(scram.SaltBytes))
		k.Stored, k.Server = bytes.Clone(take(a.Size())), bytes.Clone(take(a.Size()))
		r.keys = append(r.keys, k)
	}
	if len(b) != 0 || !r.more() || len(r.keys) > 1 && r.keys[0].Algorithm >= r.keys[1].Algorithm || len(r.keys) > len(scram.Algorithms) {
		return errMore
	}
	return nil
}
