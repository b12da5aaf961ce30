package main

import (
	"time"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/local"
)

// storeDocument is a report of the log for programs; docs/ops/store.md describes
// the fields.
type storeDocument struct {
	Log      string         `json:"log"`
	OK       bool           `json:"ok"`       // nothing that was stored is damaged or missing
	Repaired bool           `json:"repaired"` // false: it says what a start would do
	Closed   bool           `json:"closed"`   // by the broker that wrote last
	Format   int            `json:"format"`
	Segments int            `json:"segments"`
	Bytes    int64          `json:"bytes"`
	Records  int64          `json:"records"`
	First    store.Seq      `json:"first"`
	Last     store.Seq      `json:"last"`
	Oldest   *time.Time     `json:"oldest,omitempty"`
	Newest   *time.Time     `json:"newest,omitempty"`
	Cut      *storeCut      `json:"cut,omitempty"`
	Damaged  []storeDamaged `json:"damaged"`
	Missing  []storeMissing `json:"missing"`
	Unknown  []storeUnknown `json:"unknown"`
	Aside    []string       `json:"aside"`
	Tidied   []string       `json:"interrupted"`
	Bare     bool           `json:"emptied"`
}

type storeCut struct {
	Segment string `json:"segment"`
	Bytes   int64  `json:"bytes"`
}

type storeDamaged struct {
	Segment string       `json:"segment"`
	Aside   string       `json:"aside"`
	Places  []storePlace `json:"places"`
}

type storePlace struct {
	Offset int64 `json:"offset"`
	Bytes  int64 `json:"bytes"`
}

type storeMissing struct {
	Segment string     `json:"segment"`
	First   store.Seq  `json:"first"`
	Last    store.Seq  `json:"last"`
	AtMost  bool       `json:"at_most"`
	Earlier bool       `json:"earlier"` // known since an earlier repair
	After   *time.Time `json:"after,omitempty"`
	Before  *time.Time `json:"before,omitempty"`
}

type storeUnknown struct {
	Segment string `json:"segment"`
	Offset  int64  `json:"offset"`
	Error   string `json:"error"`
}

// document is the report for programs; dry tells that nothing was changed.
func (s *storeReport) document(dry bool) *storeDocument {
	d := &storeDocument{
		Log: s.folder, OK: s.whole(), Repaired: !dry, Closed: s.Clean, Format: s.Format, Segments: s.Segments, Bytes: s.Bytes,
		Records: s.Records, First: s.First, Last: s.Last, Oldest: timeOrNone(s.Oldest), Newest: timeOrNone(s.Newest), Bare: s.Bare,
		Damaged: []storeDamaged{}, Missing: []storeMissing{}, Unknown: []storeUnknown{},
		Aside: append([]string{}, s.Aside...), Tidied: append([]string{}, s.Tidied...),
	}
	if s.CutBytes > 0 {
		d.Cut = &storeCut{s.CutSegment, s.CutBytes}
	}
	for _, q := range s.Quarantined {
		d.Damaged = append(d.Damaged, storeDamaged{q.Segment, q.Aside, storePlaces(q.Places)})
	}
	for _, l := range s.Losses {
		d.Missing = append(d.Missing, storeMissing{l.Segment, l.Range.First, l.Range.Last, l.AtMost, l.Earlier, timeOrNone(l.After), timeOrNone(l.Before)})
	}
	for _, u := range s.Unknown {
		d.Unknown = append(d.Unknown, storeUnknown{u.Segment, u.Offset, u.Err.Error()})
	}
	return d
}

func storePlaces(places []local.Place) []storePlace {
	out := make([]storePlace, len(places))
	for i, p := range places {
		out[i] = storePlace(p)
	}
	return out
}

// timeOrNone is a time of the log, which has none where none was written.
func timeOrNone(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}
