package view

import (
	"bytes"
	"slices"
	"testing"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// FuzzRows: whatever is in a row, decoding it does not panic, and a row that is read is
// written the same way.
func FuzzRows(f *testing.F) {
	f.Add((&position{1, 2, 3, 4, part{first: 1}}).append(nil))
	f.Add((&position{1, 2, 3, 4, part{first: 1}}).append(nil)[:positionBytesOld])
	f.Add((&guard{epoch: 1, created: 2, left: 3, expiry: 4}).append(nil))
	f.Add([]byte{0, 5, 1, 5, 2, 0xff, 1})
	f.Add(append(make([]byte, 8), (&fact.Subscription{Filter: "a", ID: 1}).Append(nil)...))
	f.Add(append(make([]byte, 16), (&fact.Message{Topic: []byte("a")}).Append(nil)...))
	f.Add(append(append(appendDelayedKey(nil, -1, 2), make([]byte, 24)...), (&fact.Delay{Due: -1}).Append(nil)...))
	f.Add(appendPostingKey(nil, 1, 2))
	f.Add(appendSessionKey(nil, &store.SID{1}, partReceived))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decodePosition(b, 4); err == nil && !bytes.Equal(p.append(nil)[:len(b)], b) {
			t.Errorf("position %+v from %x", p, b)
		}
		var g guard
		if err := g.decode(b); err == nil && !bytes.Equal(g.append(nil), b) {
			t.Errorf("guard %+v from %x", g, b)
		}
		_, _ = decodeSub(b)
		if len(b) >= prefixBytes+16 {
			key, value := b[:prefixBytes+16], b[prefixBytes+16:]
			if d, err := decodeDelayed(key, value); err == nil && !bytes.Equal(appendDelayedKey(nil, d.Due, d.Seq)[prefixBytes:], key[prefixBytes:]) {
				t.Errorf("delayed message %d, %d from %x", d.Due, d.Seq, key)
			}
		}
		_, _, _, _ = splitRetained(b)
		if block, id, err := splitPostingKey(b); err == nil && !bytes.Equal(appendPostingKey(nil, block, id)[prefixBytes:], b[prefixBytes:]) {
			t.Errorf("posting key %d, %d from %x", block, id, b)
		}
		_, _, _, _ = splitSessionKey(b)
		for part := range byte(partSub + 2) {
			_ = new(Session).row(part, b, b, new(fact.Claim))
		}
		fuzzPostings(t, b)
	})
}

// fuzzPostings: what a row says is within its block and ascends, and there are no more
// postings than bytes.
func fuzzPostings(t *testing.T, b []byte) {
	const base, bits = 1 << 20, 4
	var found []Posting
	if err := decodePostings(b, base, bits, func(p Posting) { found = append(found, p) }); err != nil {
		return
	}
	bl := &block{first: base, lists: make(map[fact.FilterID]list)}
	for i, p := range found {
		if p.Seq < base || p.Seq >= base+1<<bits || i > 0 && p.Seq <= found[i-1].Seq {
			t.Errorf("%v in the block of %d", found, base)
		}
		bl.add(1, uint32(p.Seq-base), p.Bytes)
	}
	var got []Posting
	bl.collect(1, 0, never, func(p Posting) bool { got = append(got, p); return true })
	if !slices.Equal(got, found) {
		t.Errorf("%v was posted and is %v", found, got)
	}
	if len(found) > 0 {
		var again []Posting
		if err := decodePostings(bl.appendRow(nil, 1), base, bits, func(p Posting) { again = append(again, p) }); err != nil || !slices.Equal(again, found) {
			t.Errorf("%v came back as %v, %v", found, again, err)
		}
	}
}

// Topics sort by level, as a scan for a wildcard needs it.
func TestRetainedKeysSortByLevel(t *testing.T) {
	var keys [][]byte
	for _, topic := range []string{"a", "a/", "a/b", "a/b/c", "a!", "a!/b"} {
		keys = append(keys, appendRetainedKey(nil, []byte(topic)))
	}
	if !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Errorf("%q", keys)
	}
	if bytes.Equal(appendRetainedKey(nil, []byte("a/b")), appendRetainedKey(nil, []byte("a!b"))) || retainable([]byte("a\x00b")) {
		t.Error("two topics have one key")
	}
}
