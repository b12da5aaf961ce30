package kerberos

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Principal is a name in a realm.
type Principal struct {
	Realm string
	Parts []string
}

// String is the principal as people write it. Nothing is escaped: no part has / or @.
func (p Principal) String() string {
	s := ""
	for i, part := range p.Parts {
		if i > 0 {
			s += "/"
		}
		s += part
	}
	return s + "@" + p.Realm
}

func (p Principal) equal(o Principal) bool {
	if p.Realm != o.Realm || len(p.Parts) != len(o.Parts) {
		return false
	}
	for i := range p.Parts {
		if p.Parts[i] != o.Parts[i] {
			return false
		}
	}
	return true
}

// serviceKey is a key of ours.
type serviceKey struct {
	kvno uint32
	key
}

// keytabMax bounds how many keys of a service are kept: four types of a key, and as many
// again of those before it.
const keytabMax = 64

// ReadKeytab takes the AES keys of a principal from a keytab of MIT's format 2. There must be one.
func ReadKeytab(b []byte, of Principal) (*Keytab, error) {
	s := cryptobyte.String(b)
	var version uint16
	if !s.ReadUint16(&version) || version != 0x0502 {
		return nil, errors.New("it is no keytab of format 2")
	}
	k := &Keytab{}
	seen, weak := 0, 0
	for !s.Empty() {
		var raw uint32
		if !s.ReadUint32(&raw) {
			return nil, errKeytab
		}
		size := int64(int32(raw)) //nolint:gosec // negative: a hole
		hole := size < 0
		if hole {
			size = -size
		}
		if size == 0 && !hole { // what is not used yet
			break
		}
		var entry []byte
		if size > int64(len(s)) || !s.ReadBytes(&entry, int(size)) {
			return nil, errKeytab
		}
		if hole {
			continue
		}
		who, sk, etype, err := readEntry(entry)
		if err != nil {
			return nil, err
		}
		if !who.equal(of) {
			seen++
			continue
		}
		if sk.key, err = newKey(etype, sk.bytes); err != nil {
			weak++
			continue
		}
		if k.keys = append(k.keys, sk); len(k.keys) > keytabMax {
			return nil, fmt.Errorf("it has more than %d keys of %v", keytabMax, of)
		}
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("it has no AES key of %v: %d of other types, and %d keys of others", of, weak, seen)
	}
	return k, nil
}

var errKeytab = errors.New("the keytab is cut off or damaged")

// Keytab is the keys of one service. It is immutable.
type Keytab struct{ keys []serviceKey }

// Format implements fmt.Formatter, so that no verb shows a key.
func (k *Keytab) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "[%d keys]", len(k.keys)) }

func readEntry(b []byte) (who Principal, sk serviceKey, etype int32, err error) {
	s := cryptobyte.String(b)
	var parts, kind uint16
	var realm, secret cryptobyte.String
	var skipped uint32
	var short uint8
	ok := s.ReadUint16(&parts) && s.ReadUint16LengthPrefixed(&realm)
	for range parts {
		var part cryptobyte.String
		if ok = ok && s.ReadUint16LengthPrefixed(&part); !ok {
			break
		}
		who.Parts = append(who.Parts, string(part))
	}
	ok = ok && s.ReadUint32(&skipped) && s.ReadUint32(&skipped) && s.ReadUint8(&short) && s.ReadUint16(&kind) && s.ReadUint16LengthPrefixed(&secret)
	if !ok {
		return who, sk, 0, errKeytab
	}
	who.Realm, sk.bytes, sk.kvno = string(realm), append([]byte(nil), secret...), uint32(short)
	var long uint32
	if s.ReadUint32(&long) && long != 0 {
		sk.kvno = long
	}
	return who, sk, int32(kind), nil
}

// triesMax bounds how many keys are tried on one ticket that names no version.
const triesMax = 8

// of are the keys that a ticket may be sealed with: those of its type, and of its version
// where it names one; else the last ones of the file, which are the newest.
func (k *Keytab) of(etype int32, kvno uint32, named bool) (keys []key) {
	for i := range k.keys {
		if sk := &k.keys[i]; sk.etype == etype && (!named || sk.kvno == kvno) {
			keys = append(keys, sk.key)
		}
	}
	return keys[max(0, len(keys)-triesMax):]
}
