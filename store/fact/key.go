package fact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/redoubtmq/redoubt/store"
)

// Key is the secret that names of filters and sessions are made with. It is made once
// for a log and is in it, so that every reader of the log makes the same names, and
// nobody else can.
type Key [32]byte

// FilterID names a filter.
func (k *Key) FilterID(filter string) FilterID {
	h := hmac.New(sha256.New, k[:])
	h.Write([]byte("filter\x00"))
	h.Write([]byte(filter))
	if id := binary.BigEndian.Uint64(h.Sum(nil)); id != 0 {
		return FilterID(id)
	}
	return 1 // 0 is for messages that are broad
}

// GroupID names a shared subscription, of which filter is as it is matched. It is never
// the name of a filter.
func (k *Key) GroupID(share, filter string) FilterID {
	h := hmac.New(sha256.New, k[:])
	h.Write(appendString(appendString([]byte("group\x00"), share), filter))
	if id := binary.BigEndian.Uint64(h.Sum(nil)); id != 0 {
		return FilterID(id)
	}
	return 1 // 0 is for messages that are broad
}

// AuthorID names an identity at its mountpoint.
func (k *Key) AuthorID(mountpoint, identity string) AuthorID {
	h := hmac.New(sha256.New, k[:])
	h.Write(appendString(appendString([]byte("author\x00"), mountpoint), identity))
	if id := binary.BigEndian.Uint64(h.Sum(nil)); id != 0 {
		return AuthorID(id)
	}
	return 1 // 0 is nobody
}

// SID names a session. Each part has its length before it, so that no two sessions
// have the same parts.
func (k *Key) SID(mountpoint, identity, clientID string) store.SID {
	h := hmac.New(sha256.New, k[:])
	b := []byte("session\x00")
	for _, part := range [...]string{mountpoint, identity, clientID} {
		b = appendString(b, part)
	}
	h.Write(b)
	sid := store.SID(h.Sum(nil)[:len(store.SID{})])
	if sid == (store.SID{}) {
		sid[0] = 1 // the zero SID is no session
	}
	return sid
}
