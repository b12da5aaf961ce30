package view

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/local"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// life is a log and its view through stops of every kind.
type life struct {
	t     *rapid.T
	bits  uint
	bytes int64
	dir   *faultfs.FS
	fs    *vfs.MemFS
	log   *local.Log
	view  *View
	ear   *ear
	known []numbered // what the log has, or had before it was trimmed
	below store.Seq  // was trimmed

	rescued map[store.Seq]bool
}

func newLife(t *rapid.T) *life {
	v := &life{t: t, bits: rapid.UintRange(1, 5).Draw(t, "bits"), bytes: rapid.Int64Range(1, 2000).Draw(t, "bytes"), dir: faultfs.New(), fs: crashable(), rescued: make(map[store.Seq]bool)}
	v.start()
	return v
}

// start opens what there is, and compares it with the twin of what the log has.
func (v *life) start() {
	v.log = openLog(v.t, v.dir, smallLog)
	v.learn()
	v.view = mustOpen(v.t, Options{Log: v.log, Folder: "index", FS: v.fs, blockBits: v.bits, partBytes: v.bytes})
	v.learn() // the first time there is a key now
	v.regress()
	v.check("after Open")
	v.ear = newEar()
	v.ear.heard = v.view.Applied()
	v.view.Run(v.ear)
}

// learn reads the log: after a crash some of what nobody was told of may be there.
func (v *life) learn() {
	first, all := readAll(v.t, v.log)
	for len(v.known) > 0 && v.known[len(v.known)-1].seq >= first {
		v.known = v.known[:len(v.known)-1]
	}
	v.known = append(v.known, all...)
}

func (v *life) last() store.Seq {
	if n := len(v.known); n > 0 {
		return v.known[n-1].seq
	}
	return 0
}

func (v *life) check(when string) {
	v.t.Helper()
	if at := v.view.Applied(); at != v.last() {
		v.t.Fatalf("%s: applied %d, the log has %d", when, at, v.last())
	}
	settle(v.t, v.view)
	if n, _ := v.view.Rescued(); n != int64(len(v.rescued)) {
		v.t.Fatalf("%s: %d messages are rescued, want %v", when, n, v.rescued)
	}
	if err := compare(v.view, newTwin(v.known), v.below, slices.Collect(maps.Keys(v.visible()))...); err != nil {
		v.t.Fatalf("%s: %v", when, err)
	}
}

// submit adds a batch and waits until it is applied.
func (v *life) submit() {
	var recs []store.Record
	sessions := newTwin(v.known).sessions
	waits := newTwin(v.known).delayed
	for range rapid.IntRange(1, 6).Draw(v.t, "records") {
		r := someRecord(v.t)
		if r.Kind == store.DelayEnd && len(waits) > 0 { // so that most end one
			d := waits[rapid.IntRange(0, len(waits)-1).Draw(v.t, "ends")]
			r.SID, r.Body = store.SID{}, (&fact.DelayEnd{Due: d.Due, Seq: d.Seq}).Append(nil)
		}
		if s := sessions[r.SID]; s != nil && rapid.IntRange(0, 3).Draw(v.t, "owner") > 0 { // so that most count
			r.Epoch = s.Epoch
			if r.Kind == store.Claim {
				r.Epoch++
			}
		}
		recs = append(recs, r)
	}
	first := put(v.t, v.log, recs...)
	for i, r := range recs {
		v.known = append(v.known, numbered{first + store.Seq(i), r})
	}
	v.ear.wait(v.t, v.last())
	want := newTwin(v.known)
	v.ear.mu.Lock()
	defer v.ear.mu.Unlock()
	for i := range recs {
		if seq := first + store.Seq(i); v.ear.outcomes[seq] != want.outcomes[seq] {
			v.t.Fatalf("record %d, %v: %v, want %v", seq, recs[i].Kind, v.ear.outcomes[seq], want.outcomes[seq])
		}
	}
}

// rush adds batches and waits for nothing.
func (v *life) rush() {
	for range rapid.IntRange(1, 4).Draw(v.t, "batches") {
		v.log.Submit(0, []store.Record{someRecord(v.t), someRecord(v.t)}, func(store.Seq, error) {})
	}
}

// stop ends the process in one of the ways there are, and starts it again.
func (v *life) stop() {
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(v.t, "crash"), 1))
	how := rapid.SampledFrom([]string{"close", "kill", "power cut", "power cut of the index", "power cut in a rush"}).Draw(v.t, "how")
	switch how {
	case "close":
		v.end()
	case "kill": // the index loses what Pebble had in memory, and the log nothing
		fs := v.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rnd})
		v.end()
		v.fs = fs
	case "power cut of the index":
		fs := v.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
		v.end()
		v.fs = fs
	default:
		if how == "power cut in a rush" {
			v.dir.PowerAt(1 + rnd.IntN(5))
			v.rush()
		}
		fs := v.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
		dir := v.dir.Crash(rnd)
		v.end()
		v.fs, v.dir = fs, dir
	}
	v.start()
}

func (v *life) end() {
	if err := v.view.Close(); err != nil {
		v.t.Fatalf("close: %v", err)
	}
	_ = v.log.Close() // it may have no power
}

// flush makes Pebble write at a moment of its own.
func (v *life) flush() {
	if err := v.view.ix.db.Flush(); err != nil {
		v.t.Fatalf("flush: %v", err)
	}
}

// regress takes back what a crash may: where the log was trimmed to, as far as it was not,
// and what was rescued from there on.
func (v *life) regress() {
	first, _, err := v.log.Bounds(v.t.Context(), 0)
	floor := v.view.Floor()
	if err != nil || v.below > 0 && first > 1 && floor < first || floor > max(1, v.below) {
		v.t.Fatalf("the floor is %d; it was %d and the log begins with %d, %v", floor, v.below, first, err)
	}
	v.below = floor
	maps.DeleteFunc(v.rescued, func(seq store.Seq, _ bool) bool { return seq >= floor })
}

// visible is what is rescued and no longer in the log.
func (v *life) visible() map[store.Seq]bool {
	seen := maps.Clone(v.rescued)
	maps.DeleteFunc(seen, func(seq store.Seq, _ bool) bool { return seq >= v.below })
	return seen
}

// rescue copies some of what the log has; each message that was applied may be wanted.
func (v *life) rescue() {
	var seqs []store.Seq
	want := newTwin(v.known)
	for i := range v.known {
		n := &v.known[i]
		if rapid.IntRange(0, 3).Draw(v.t, "wanted") > 0 || n.seq >= v.below && (!hasMessage(&n.rec) || want.outcomes[n.seq] != Applied) {
			continue
		}
		if seqs = append(seqs, n.seq); n.seq >= v.below {
			v.rescued[n.seq] = true
		}
	}
	if _, err := v.view.Rescue(v.t.Context(), seqs, nil); err != nil {
		v.t.Fatalf("rescue %v: %v", seqs, err)
	}
}

// hasMessage tells whether a record is one or has one: not every take does.
func hasMessage(r *store.Record) bool {
	var m fact.Message
	is, err := decodeMessage(r, &m)
	return isMessage(r.Kind) && is && err == nil
}

// forget lets go of what nobody wants.
func (v *life) forget() {
	id := someFilter(v.t)
	filters := make(map[store.Seq]bool)
	for _, p := range newTwin(v.known).postings[id] {
		filters[p.Seq] = true
	}
	before := len(v.rescued)
	maps.DeleteFunc(v.rescued, func(seq store.Seq, _ bool) bool { return !filters[seq] })
	n, err := v.view.Forget(v.t.Context(), func(wanted fact.FilterID, _ store.Seq) bool { return wanted == id })
	if err != nil || int(n) != before-len(v.rescued) {
		v.t.Fatalf("forget: %d, want %d; %v", n, before-len(v.rescued), err)
	}
	v.flush() // or a crash would bring it back
}

func (v *life) trim() {
	below := store.Seq(rapid.Uint64Range(0, uint64(v.last())+3).Draw(v.t, "below"))
	got, err := v.view.Trim(v.t.Context(), below)
	v.view.rows.mu.Lock()
	limit := v.view.rows.at.part.first // it only grows
	v.view.rows.mu.Unlock()
	if err != nil || got > below || got > limit {
		v.t.Fatalf("trim below %d: %d, %v; the open part begins with %d", below, got, err, limit)
	}
	v.below = max(v.below, got)
}

// pending asks for what some reader would.
func (v *life) pending() {
	q := Query{Broad: rapid.Bool().Draw(v.t, "broad"), After: v.around("after")}
	for range rapid.IntRange(0, 4).Draw(v.t, "filters") {
		q.Filters = append(q.Filters, Interest{someFilter(v.t), v.around("start")})
	}
	if rapid.Bool().Draw(v.t, "to the end") {
		q.Before = v.around("before")
	}
	got, upTo, err := v.view.Pending(&q, nil)
	seen := v.visible()
	want := slices.DeleteFunc(newTwin(v.known).pending(&q), func(p Posting) bool {
		return p.Seq < v.below && !seen[p.Seq] || p.Seq >= q.before()
	})
	if err != nil || upTo != v.last() || fmt.Sprint(got) != fmt.Sprint(want) {
		v.t.Fatalf("%+v:\n got %v up to %d, %v\nwant %v up to %d", q, got, upTo, err, want, v.last())
	}
	var parts []Posting // and a few at a time
	part := q
	part.Most = rapid.IntRange(1, 5).Draw(v.t, "most")
	for n := part.Most; n == part.Most; {
		var list []Posting
		if list, part.After, err = v.view.Pending(&part, nil); err != nil || len(list) > part.Most {
			v.t.Fatalf("%+v: %v, %v", part, list, err)
		}
		n, parts = len(list), append(parts, list...)
	}
	if part.After != v.last() || fmt.Sprint(parts) != fmt.Sprint(want) {
		v.t.Fatalf("%+v, %d at a time:\n got %v up to %d\nwant %v", q, part.Most, parts, part.After, want)
	}
	seqs := make([]store.Seq, len(got))
	for i, p := range got {
		seqs[i] = p.Seq
	}
	n := 0
	lost, err := v.view.Read(v.t.Context(), seqs, func(seq store.Seq, rec *store.Record, m *fact.Message) error {
		if seq != got[n].Seq || len(rec.Body) != int(got[n].Bytes) || rec.Kind != store.ShareAck && !bytes.Equal(m.Append(nil), rec.Body) {
			return fmt.Errorf("number %d with %d bytes, want %+v", seq, len(rec.Body), got[n])
		}
		n++
		return nil
	})
	if lost != 0 || err != nil || n != len(got) {
		v.t.Fatalf("read %v: %d of %d, %d lost, %v", seqs, n, len(got), lost, err)
	}
}

// around is a number that is in the log, or near one.
func (v *life) around(name string) store.Seq {
	n := v.known[rapid.IntRange(0, len(v.known)-1).Draw(v.t, name)].seq
	return n + store.Seq(rapid.IntRange(0, 2).Draw(v.t, name+" +")) - 1
}

// TestViewIsAFunctionOfTheLog: whatever is submitted and however the process ends, the
// view is what the twin makes of the records that the log has.
func TestViewIsAFunctionOfTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newLife(t)
		defer func() {
			_ = v.view.Close()
			_ = v.log.Close()
		}()
		t.Repeat(map[string]func(*rapid.T){
			"submit":  func(*rapid.T) { v.submit() },
			"more":    func(*rapid.T) { v.submit() },
			"stop":    func(*rapid.T) { v.stop() },
			"flush":   func(*rapid.T) { v.flush() },
			"trim":    func(*rapid.T) { v.trim() },
			"rescue":  func(*rapid.T) { v.rescue() },
			"forget":  func(*rapid.T) { v.forget() },
			"pending": func(*rapid.T) { v.pending() },
			"check":   func(*rapid.T) { v.check("while it runs") },
		})
	})
}

func someFilter(t *rapid.T) fact.FilterID {
	return fact.FilterID(rapid.Uint64Range(1, 4).Draw(t, "filter"))
}

// someRecord is of few sessions, filters and topics, so that records meet; now and then
// it is nonsense.
func someRecord(t *rapid.T) store.Record {
	r := store.Record{At: int64(rapid.IntRange(0, 1000).Draw(t, "at"))}
	r.Kind = rapid.SampledFrom([]store.Kind{
		store.Message, store.Message, store.Message, store.Claim, store.Claim, store.Release, store.Subscribe, store.Subscribe, store.Unsubscribe,
		store.Inflight, store.Ack, store.QoS2In, store.QoS2Rel, store.Retain, store.Retain, store.Unretain, store.Will, store.WillFire, store.Expire,
		store.Config, store.User, store.Ban, store.Hash, store.Rescue,
		store.ShareJoin, store.ShareJoin, store.ShareLeave, store.ShareAck, store.ShareAck, store.ShareAck,
		store.Delay, store.Delay, store.DelayEnd,
	}).Draw(t, "kind")
	if !isMessage(r.Kind) || rapid.Bool().Draw(t, "durable") {
		r.SID = store.SID{byte(rapid.SampledFrom([]int{1, 1, 1, 2, 2, 0}).Draw(t, "sid"))}
		r.Epoch = uint64(rapid.IntRange(0, 3).Draw(t, "epoch"))
	}
	if rapid.IntRange(0, 30).Draw(t, "nonsense") == 30 {
		r.Body = rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "body")
		return r
	}
	r.Body = someBody(t, r.Kind)
	return r
}

func someBody(t *rapid.T, k store.Kind) []byte {
	text := func() string {
		return rapid.SampledFrom([]string{"a", "a/b", "a/", "/", "b", ""}).Draw(t, "text")
	}
	small := func(name string) int { return rapid.IntRange(0, 3).Draw(t, name) }
	flip := func(name string) bool { return rapid.Bool().Draw(t, name) }
	switch k {
	case store.Message, store.Retain, store.Unretain:
		m := fact.Message{Topic: []byte(text()), Payload: bytes.Repeat([]byte("x"), rapid.IntRange(0, 400).Draw(t, "payload")), Broad: small("broad") == 3, Retain: k != store.Message}
		if small("zero") == 3 && flip("really") {
			m.Topic = []byte{'a', 0}
		}
		if flip("expires") {
			m.ExpiresAt = int64(rapid.IntRange(1, 1000).Draw(t, "when"))
		}
		if k == store.Unretain && flip("only") {
			m.Only = store.Seq(rapid.IntRange(1, 100).Draw(t, "of"))
		}
		for range small("filters") {
			m.Filters = append(m.Filters, someFilter(t))
		}
		m.By = fact.AuthorID(small("by")) //nolint:gosec // small
		return m.Append(nil)
	case store.Claim:
		c := fact.Claim{Owner: fact.Owner{ClientID: text()}, Node: "n", Version: 5, ExpirySeconds: uint32(small("expiry"))}
		switch small("way") {
		case 0:
			c.Clean = true
		case 1:
			c.Moves, c.Node = true, "other"
		case 2:
			c.Sure, c.From = true, uint64(small("from"))
		}
		return c.Append(nil)
	case store.Release:
		r := fact.Release{ExpirySeconds: uint32(small("expiry")), KeepWill: flip("keep")}
		return r.Append(nil)
	case store.Subscribe:
		s := fact.Subscription{Filter: text(), Real: text(), ID: someFilter(t), QoS: 1, Owed: flip("owed")}
		return s.Append(nil)
	case store.Unsubscribe:
		u := fact.Unsubscription{Filter: text()}
		return u.Append(nil)
	case store.Inflight, store.Ack:
		o := fact.Outbox{Cursor: store.Seq(small("cursor")), LastID: uint16(small("id")), Heard: store.Seq(rapid.IntRange(0, 100).Draw(t, "heard"))}
		for i := range small("entries") {
			o.Entries = append(o.Entries, fact.Sent{Seq: store.Seq(i + 1), ID: uint16(i), QoS: 1, Share: fact.FilterID(small("share"))})
		}
		return o.Append(nil)
	case store.QoS2In, store.QoS2Rel:
		p := fact.PacketID{ID: uint16(1 + small("id"))}
		return p.Append(nil)
	case store.Will:
		w := fact.Will{Topic: []byte(text()), DelaySeconds: uint32(small("delay"))}
		return w.Append(nil)
	case store.Config, store.User, store.Ban:
		v := fact.Value{Name: text(), Gone: flip("gone")}
		if !v.Gone {
			v.Content = []byte(text())
		}
		return v.Append(nil)
	case store.Delay:
		d := fact.Delay{Owner: fact.Owner{Identity: text()}, Node: "n", Due: int64(small("due")) - 1}
		d.Message = fact.Message{Topic: []byte(text()), Payload: []byte(text()), QoS: 1}
		return d.Append(nil)
	case store.DelayEnd: // of one of the first records, that may be another thing
		e := fact.DelayEnd{Due: int64(small("due")) - 1, Seq: store.Seq(1 + rapid.IntRange(0, 20).Draw(t, "ends"))}
		return e.Append(nil)
	case store.Hash:
		m := fact.Mark{Node: text()}
		return m.Append(nil)
	case store.ShareJoin:
		j := fact.Join{Group: 1 + fact.FilterID(small("group")/2), Member: 3 + fact.FilterID(small("member")/2), Share: "g", Real: text(), Since: store.Seq(small("since") / 3)}
		return j.Append(nil)
	case store.ShareLeave:
		l := fact.Leave{Group: 1 + fact.FilterID(small("group")/2), Member: 3 + fact.FilterID(small("member")/2), Stay: flip("stay")}
		return l.Append(nil)
	case store.ShareAck:
		some := func(name string) store.Seq { return store.Seq(rapid.IntRange(0, 60).Draw(t, name)) }
		k := fact.Take{Group: 1 + fact.FilterID(small("group")/2), Seq: some("seq"), Below: some("below") / 3, Done: small("done") == 3}
		if k.Source = k.Group; flip("given back") {
			k.Source, k.Part = 3+fact.FilterID(small("member")/2), some("part")
		}
		if k.Seq > 0 && flip("kept") {
			if k.Member = k.Group; !flip("joined") {
				k.Member = 3 + fact.FilterID(small("member")/2)
			}
			m := fact.Message{Topic: []byte(text()), QoS: 1, Filters: []fact.FilterID{k.Member}}
			k.Body = m.Append(nil)
		}
		return k.Append(nil)
	}
	return nil
}
