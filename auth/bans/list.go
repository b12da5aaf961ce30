package bans

import (
	"cmp"
	"slices"
	"time"
)

// Source is where a ban comes from.
type Source uint8

// The sources.
const (
	FromOperator Source = iota // kept
	FromFile                   // read-only
	FromFlapping               // made by the broker, in memory
	sourceEnd
)

// SourceNames are the words for them, by their number.
var SourceNames = [sourceEnd]string{"operator", "file", "flapping"}

// String is the source's name.
func (s Source) String() string { return SourceNames[s] }

// Each calls fn for every ban that is not over, in order: by kind, name and identity, and
// then those of flapping clients. The bans are read-only.
func (b *Bans) Each(now time.Time, fn func(ban *Ban, from Source)) {
	all, file := b.sorted()
	for _, ban := range all {
		if ban.Over(now) {
			continue
		}
		from := FromOperator
		if file.byKey[ban.key()] == ban {
			from = FromFile
		}
		fn(ban, from)
	}
	for _, ban := range b.flapping.active(now) {
		fn(ban, FromFlapping)
	}
}

// sorted is all bans of operators and file, and the set of the latter; both are replaced
// and never changed.
func (b *Bans) sorted() ([]*Ban, *Set) {
	b.mu.RLock()
	list, file, gen := b.list, b.file, b.gen
	if list == nil {
		list = make([]*Ban, 0, b.kept.Len()+b.file.Len())
		for _, s := range [...]*Set{b.kept, b.file} {
			for _, ban := range s.byKey {
				list = append(list, ban)
			}
		}
		b.mu.RUnlock()
		slices.SortFunc(list, compare) // of which those who ask know nothing
		b.mu.Lock()
		if b.gen == gen {
			b.list = list
		}
		b.mu.Unlock()
		return list, file
	}
	b.mu.RUnlock()
	return list, file
}

func compare(a, b *Ban) int {
	return cmp.Or(cmp.Compare(a.As, b.As), cmp.Compare(a.Who, b.Who), cmp.Compare(a.Identity, b.Identity), a.From.Addr().Compare(b.From.Addr()))
}

// Counts are how many bans there are, by source, those that are over and not purged yet
// included.
func (b *Bans) Counts() (counts [sourceEnd]int64) {
	b.mu.RLock()
	counts[FromOperator], counts[FromFile] = int64(b.kept.Len()), int64(b.file.Len())
	b.mu.RUnlock()
	counts[FromFlapping] = b.flapping.len()
	return counts
}
