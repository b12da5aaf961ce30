package broker

import (
	"fmt"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/mqtt"
)

// What all clients have together (limits.sessions_total, limits.subscriptions_total) must not
// all be one identity's: with a new client identifier for each connect one set of
// credentials would take what others need. While there is plenty nobody is counted; when it is
// scarce, who has more than an eighth of what there is gets no more.

// Shares of what there may be.
const (
	scarceFrom  = 4 // a quarter is left
	hoardShare  = 8 // an eighth of what there is
	hoardAtMost = 1000
	hoardLeast  = 16
)

// newTotals are of nobody.
func newTotals() totals { return totals{had: limit.NewTally(), heardOf: limit.NewTally()} }

// overdrawn refuses a new session to who has very many, while there are few left or memory is
// short.
func (b *Broker) overdrawn(identity string, set *Settings) *mqtt.Error {
	most, now := int64(set.SessionsTotal), b.sessions.Load()+b.unsaid.Load()
	if !b.scarce(now, most) {
		return nil
	}
	if has := b.had.Sum(b.had.Place(identity)); hoards(has, now, most) {
		return &mqtt.Error{Reason: mqtt.QuotaExceeded, Detail: fmt.Sprintf("the user has %d of %d sessions, and the rest of limits.sessions_total, or of the memory, is for others", has, now)}
	}
	return nil
}

// overheard is that for subscriptions.
func (b *Broker) overheard(identity string, set *Settings) bool {
	most, now := int64(set.SubscriptionsTotal), b.subscribed.Load()
	return b.scarce(now, most) && hoards(b.heardOf.Sum(b.heardOf.Place(identity)), now, most)
}

// scarce tells whether little is left of most, or memory is.
func (b *Broker) scarce(now, most int64) bool {
	return most > 0 && now >= most-most/scarceFrom || load.Level(b.overload.level.Load()) >= load.Warm
}

// hoards tells whether has of now is more than one identity's part. A few hundred are nobody's
// hoard, unless most is not more.
func hoards(has, now, most int64) bool {
	floor := int64(hoardAtMost)
	if most > 0 {
		floor = min(floor, max(most/hoardShare, hoardLeast))
	}
	return has > max(floor, now/hoardShare)
}
