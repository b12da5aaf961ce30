package builtin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The content of a kept user is, and has exactly this length:
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
const (
	contentFormat = 1
	contentBytes  = 2 + saltBytes + sumBytes + 8 + 8
)

// timeMax is the end of the year 9999: JSON knows no later time, and none before 0000.
const (
	timeMin = -62_167_219_200
	timeMax = 253_402_300_799
)

// content is how r is kept.
func (r *record) content() []byte {
	b := make([]byte, 0, contentBytes)
	b = append(b, contentFormat, byte(r.cred.kind))
	b = append(b, r.cred.salt[:]...)
	b = append(b, r.cred.sum[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.created.Unix()))    //nolint:gosec // as bits
	return binary.BigEndian.AppendUint64(b, uint64(r.changed.Unix())) //nolint:gosec // as bits
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
	case content[0] != contentFormat:
		return nil, fmt.Errorf("its record has format %d and this version reads %d", content[0], contentFormat)
	case len(content) != contentBytes:
		return nil, fmt.Errorf("its record has %d bytes, want %d", len(content), contentBytes)
	case kind(content[1]) > generated:
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
	return r, nil
}
