// Package router answers who wants a message: it maps a topic name to the live
// subscriptions whose filters match. It holds references to sessions and never
// looks behind them, knows no packets and decides nothing about permission;
// retained messages are package retain's. Of a shared subscription it keeps who is
// in it and picks one; what becomes of a message that one did not take is the
// broker's business.
//
// Exact filters are in sharded hash tables, filters with wildcards in a trie that
// is sharded by first level. Readers take no lock in either; each shard has one
// writer at a time. Nothing is left of a filter whose last subscriber is gone (A042).
//
// Rules: MQTT 5.0 §4.7 topic names and topic filters, §4.8.2 shared subscriptions.
// Package topic has the same rule for filters in plain words, and the tests hold
// one against the other.
package router

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redoubtmq/redoubt/topic"
)

// Ref names one subscribing session: its home loop, and the slot and generation
// there. Whoever delivers checks the generation, so that a reused slot never
// receives another session's message.
type Ref struct {
	Home      uint16
	Slot, Gen uint32
}

// Less orders references by home, slot, generation.
func (r Ref) Less(o Ref) bool {
	switch {
	case r.Home != o.Home:
		return r.Home < o.Home
	case r.Slot != o.Slot:
		return r.Slot < o.Slot
	}
	return r.Gen < o.Gen
}

// Opts are the subscription options that matter at delivery.
type Opts uint8

// The bits of Opts.
const (
	OptQoS            Opts = 3      // mask of the granted maximum QoS
	NoLocal           Opts = 1 << 2 // not to the session that published [MQTT-3.8.3-3]
	RetainAsPublished Opts = 1 << 3 // keep the RETAIN flag [MQTT-3.3.1-13]
	Check             Opts = 1 << 4 // a deny rule overlaps the filter: authorize each delivery
	Durable           Opts = 1 << 5 // QoS 1 and 2 come to the session from the log
)

// QoS is the maximum QoS the subscription was granted.
func (o Opts) QoS() byte { return byte(o & OptQoS) }

// Subscriber is one session's interest in one filter.
type Subscriber struct {
	Ref   Ref
	SubID uint32 // Subscription Identifier, 0 for none
	Opts  Opts
}

// Index holds the live subscriptions. All methods are safe for concurrent use.
// It sets no limit: how many filters a session may have, how long and how deep
// they may be, is judged before.
type Index struct {
	seed    maphash.Seed // per index, so that nobody can choose filters that collide
	exact   [exactShards]exactShard
	wild    [wildShards]wildShard // by first level
	leading wildShard             // filters that start with a wildcard

	exactFilters, wildFilters, subscribers atomic.Int64
}

// delta is what one change did to the counts.
type delta struct{ filters, subs int64 }

// New makes an empty index. It takes about 20 KiB.
func New() *Index {
	return &Index{seed: maphash.MakeSeed()}
}

func (x *Index) exactOf(hash uint64) *exactShard { return &x.exact[hash>>32%exactShards] }

// wildOf takes the bits of the tag that a hashTree uses last.
func (x *Index) wildOf(tag uint32) *wildShard { return &x.wild[tag>>26%wildShards] }

// wildOfFilter is the shard of a filter with a wildcard.
func (x *Index) wildOfFilter(filter string) *wildShard {
	first, _, _ := strings.Cut(filter, "/")
	if first == "+" || first == "#" {
		return &x.leading
	}
	return x.wildOf(tagOf(x.seed, first))
}

// Subscribe adds s under filter. If the same session has that filter already, its
// subscription identifier and options are replaced [MQTT-3.8.4-3]. Every Match
// that starts after Subscribe returned finds s.
//
// filter must be valid and without "$share/group/"; one that is not valid is
// stored and matches nothing. The index keeps it if there is no wildcard in it: it must be a
// string of its own, as a session's is, and no part of a packet.
func (x *Index) Subscribe(filter string, s Subscriber) (replaced bool) {
	var d delta
	if topic.HasWildcard(filter) {
		d, replaced = x.wildOfFilter(filter).subscribe(x.seed, filter, s)
		x.wildFilters.Add(d.filters)
	} else {
		h := maphash.String(x.seed, filter)
		d, replaced = x.exactOf(h).subscribe(uint32(h), filter, s)
		x.exactFilters.Add(d.filters)
	}
	x.subscribers.Add(d.subs)
	return replaced
}

// Filtered is a subscriber and his filter.
type Filtered struct {
	Filter string
	Sub    Subscriber
}

// SubscribeAll is Subscribe for very many at once, as when a broker starts. Of one session
// the same filter is in list at most once. The strings are kept: none may be cut from
// anything larger.
func (x *Index) SubscribeAll(list []Filtered) {
	var counts [exactShards]int
	hashes := make([]uint64, 0, len(list)) // of those without a wildcard
	for i := range list {
		f := &list[i]
		if topic.HasWildcard(f.Filter) {
			x.Subscribe(f.Filter, f.Sub)
			continue
		}
		h := maphash.String(x.seed, f.Filter)
		counts[h>>32%exactShards]++
		hashes = append(hashes, h)
	}
	var next [exactShards]int
	from := 0
	for s, n := range counts {
		next[s] = from
		from += n
	}
	sorted := roomFor(len(hashes)) // by shard
	all := len(hashes) == len(list)
	for i := range list {
		f := &list[i]
		if !all && topic.HasWildcard(f.Filter) {
			continue
		}
		h := hashes[0]
		hashes = hashes[1:]
		at := &next[h>>32%exactShards]
		sorted[*at] = entry{filter: f.Filter, one: f.Sub, tag: uint32(h)}
		*at++
	}
	var sum delta
	from = 0
	for s, n := range counts {
		if n > 0 {
			d := x.exact[s].load(sorted[from : from+n])
			sum.filters += d.filters
			sum.subs += d.subs
		}
		from += n
	}
	x.exactFilters.Add(sum.filters)
	x.subscribers.Add(sum.subs)
	clear(sorted)
	loads.Put(&sorted)
}

// loads is scratch of SubscribeAll, which is called twice by a broker that starts.
var loads sync.Pool

// roomFor answers empty scratch for so many entries.
func roomFor(entries int) []entry {
	if is, _ := loads.Get().(*[]entry); is != nil && cap(*is) >= entries {
		return (*is)[:entries]
	}
	return make([]entry, entries)
}

// Unsubscribe removes what that session has under filter and tells whether there
// was anything. No Match that starts after Unsubscribe returned finds it.
func (x *Index) Unsubscribe(filter string, ref Ref) (existed bool) {
	var d delta
	if topic.HasWildcard(filter) {
		d, existed = x.wildOfFilter(filter).unsubscribe(x.seed, filter, ref)
		x.wildFilters.Add(d.filters)
	} else {
		h := maphash.String(x.seed, filter)
		d, existed = x.exactOf(h).unsubscribe(uint32(h), filter, ref)
		x.exactFilters.Add(d.filters)
	}
	x.subscribers.Add(d.subs)
	return existed
}

// Stats is how much an index holds.
type Stats struct {
	Exact       int // filters without wildcards
	Wildcard    int // filters with wildcards
	Subscribers int // (session, filter) pairs
}

// Stats counts what the index holds. While others change it the three figures may
// be of slightly different moments.
func (x *Index) Stats() Stats {
	return Stats{
		Exact:       int(x.exactFilters.Load()),
		Wildcard:    int(x.wildFilters.Load()),
		Subscribers: int(x.subscribers.Load()),
	}
}
