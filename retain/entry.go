package retain

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// entry is a retained message in the order of topics. The tag is a hash of the
// topic: with it the message of one topic is found in a block without looking at
// the others. The frame's Used says that it was asked for, or put, since the hand of shed
// came by.
type entry struct {
	f   *mqtt.Frame
	tag uint32
}

// topicList is the messages in the order of compare.
type topicList struct {
	list[entry, []byte]
	seed maphash.Seed
}

func newTopicList() topicList {
	return topicList{
		seed: maphash.MakeSeed(),
		list: list[entry, []byte]{
			cmp:    func(e entry, key []byte) int { return compare(e.f.Topic(), key) },
			cmpLow: compare,
			lowOf:  func(e entry) []byte { return slices.Clone(e.f.Topic()) },
		},
	}
}

func (l *topicList) tagOf(topic []byte) uint32 { return uint32(maphash.Bytes(l.seed, topic)) } //nolint:gosec // a part of a hash is one

// find is the place of that topic and the frame there, or nil.
func (l *topicList) find(topic []byte, tag uint32) (place, *mqtt.Frame) {
	b := l.blockOf(topic)
	if b < len(l.blocks) {
		for i, e := range l.blocks[b].items {
			if e.tag == tag && string(e.f.Topic()) == string(topic) {
				return place{b, i}, e.f
			}
		}
	}
	return place{}, nil
}

// due is a retained message in the order of expiry, the older version first.
type due struct {
	at      int64 // the frame's ExpiresAt, unix milliseconds
	version uint64
	f       *mqtt.Frame
}

func dueOf(f *mqtt.Frame) due { return due{f.ExpiresAt, f.Version, f} }

func compareDue(a, b due) int {
	if c := cmp.Compare(a.at, b.at); c != 0 {
		return c
	}
	return cmp.Compare(a.version, b.version)
}

func newExpiryList() list[due, due] {
	return list[due, due]{
		cmp:    compareDue,
		cmpLow: compareDue,
		lowOf:  func(d due) due { return due{at: d.at, version: d.version} }, // without the frame, which may be gone before
	}
}

func expired(f *mqtt.Frame, now time.Time) bool {
	return f.ExpiresAt != 0 && f.ExpiresAt <= now.UnixMilli()
}
