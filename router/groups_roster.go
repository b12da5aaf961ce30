package router

import "sync/atomic"

// pageSeats is how many members stand in one page of a roster. A change copies one
// page and the list of pages, so that the hundred-thousandth member of a group
// costs twenty kilobytes of copying and not three megabytes.
const pageSeats = 128

// roster is the members of a group at one moment, in an order that changes only
// when one of them leaves. Apart from kept it never changes.
type roster struct {
	pages [][]seat // all but the last are full, none is empty
	n     int      // members

	// kept is one more than the seat of the member that Sticky keeps, 0 for none.
	kept atomic.Uint32
}

type seat struct {
	sub Subscriber
	m   *Member
}

// at is the seat of member i.
func (r *roster) at(i int) *seat { return &r.pages[i/pageSeats][i%pageSeats] }

// with is r with s at seat i, which may be one more than there are. A choice that
// Sticky makes meanwhile may be lost, and is then made again.
func (r *roster) with(i int, s seat) *roster {
	next := &roster{n: max(r.n, i+1)}
	next.kept.Store(r.kept.Load())
	p := i / pageSeats
	next.pages = append(make([][]seat, 0, max(len(r.pages), p+1)), r.pages...)
	if p == len(r.pages) {
		next.pages = append(next.pages, []seat{s})
		return next
	}
	page := make([]seat, max(len(r.pages[p]), i%pageSeats+1))
	copy(page, r.pages[p])
	page[i%pageSeats] = s
	next.pages[p] = page
	return next
}

// without is r less member i; the last one takes its seat.
func (r *roster) without(i int) *roster {
	last := r.n - 1
	next := &roster{n: last, pages: append(make([][]seat, 0, len(r.pages)), r.pages...)}
	if i != last {
		p := i / pageSeats
		page := append(make([]seat, 0, len(r.pages[p])), r.pages[p]...)
		page[i%pageSeats] = *r.at(last)
		next.pages[p] = page
	}
	p := last / pageSeats
	if last%pageSeats == 0 {
		next.pages = next.pages[:p:p]
	} else {
		next.pages[p] = append(make([]seat, 0, last%pageSeats), next.pages[p][:last%pageSeats]...)
	}
	switch kept := int(r.kept.Load()) - 1; kept {
	case i:
	case last:
		next.kept.Store(uint32(i) + 1)
	default:
		next.kept.Store(uint32(kept + 1))
	}
	return next
}
