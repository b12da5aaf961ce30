package broker

import (
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
)

// What waits in the log for one session may be tens of millions of messages. Whoever looks
// for it has a portion of the postings in memory at a time, and never all.

// lookMax is how many postings, of 16 bytes, one look at the index brings.
const lookMax = 64 << 10

// walk gives fn all that q asks for, in order, until it answers false. upTo is how far that
// is complete if it did not.
func walk(ix Index, q view.Query, fn func(p *view.Posting) (more bool)) (upTo store.Seq, err error) {
	q.Most = lookMax
	for list := []view.Posting(nil); ; q.After = upTo {
		if list, upTo, err = ix.Pending(&q, list[:0]); err != nil {
			return 0, err
		}
		for i := range list {
			if !fn(&list[i]) {
				return upTo, nil
			}
		}
		if len(list) < lookMax {
			return upTo, nil
		}
	}
}

// queueLimits are how much may wait for a session.
type queueLimits struct {
	messages int
	bytes    int64
}

// surplus is how many of the oldest are over them of what q asks for, and their bytes; from
// is the first that is not. What q asks for also has what the session does not want: broad
// messages for others, and its own. They must not push out what it does, so its own count
// decides, which is waits. It may wait for the disk.
func (l queueLimits) surplus(ix Index, q view.Query, waits *lag) (n int, dropped int64, from store.Seq, err error) {
	if waits.messages <= l.messages && waits.bytes <= l.bytes {
		return 0, 0, 0, nil
	}
	all, bytes := 0, int64(0)
	upTo, err := walk(ix, q, func(p *view.Posting) bool {
		all++
		bytes += int64(p.Bytes)
		return true
	})
	if err != nil {
		return 0, 0, 0, err
	}
	over, overBytes := min(waits.messages, all)-l.messages, min(waits.bytes, bytes)-l.bytes
	if over <= 0 && overBytes <= 0 {
		return 0, 0, 0, nil
	}
	q.Before = upTo + 1
	_, err = walk(ix, q, func(p *view.Posting) bool {
		if n+1 < all && (over > n || overBytes > dropped) {
			dropped += int64(p.Bytes)
			n++
			return true
		}
		from = p.Seq
		return false
	})
	if from == 0 { // the log let go of the rest meanwhile
		n, dropped = 0, 0
	}
	return n, dropped, from, err
}

// look finds what the portion holds, and the next ones: it drops the oldest over the limits
// and does not go further than it must.
func (p *portion) look(ix Index) (err error) {
	q, from := p.query, store.Seq(0)
	if p.dropped, p.droppedBytes, from, err = p.limits.surplus(ix, q, &p.waits); err != nil {
		return err
	}
	if from != 0 {
		q.After = from - 1
	}
	const most = session.AheadMessages + planMax
	q.Most = most + 1
	list, upTo, err := ix.Pending(&q, nil)
	if err != nil {
		return err
	}
	p.upTo = upTo
	last, tail := store.Seq(0), store.Seq(0)
	if n := len(list); n > 0 {
		last = list[n-1].Seq
	}
	if len(list) > most {
		tail, last = list[most].Seq, max(last, p.waits.last)
		list = list[:most:most]
	}
	p.take(list, tail, last)
	return nil
}
