package broker

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/store/fact"
)

// What all have together on the disk must not all be one identity's, either: retained
// messages, and messages that the log keeps because somebody has not come for them. While
// there is plenty nobody is counted. When it is scarce, who has more than
// limits.identity_share gets no more, until others have let go of something or he has.
// Who has published what is in the records, so that it is known after a restart.

// scarcity is what homes know of it.
type scarcity struct {
	stored atomic.Int64 // bytes that one identity may have among what was rescued; 0: that is not scarce
	freed  atomic.Int64 // bytes of removals that were taken since the log became full
}

// What removes a retained message takes room in the log before it makes some. While the
// log is full removals have freeMost bytes of it: that is well below what the disk has left
// then, and it is less than somebody could send who removes what is not there (memory may
// not know), or puts much beside nothing.
const (
	freeMost = 8 << 20
	freeEach = 128 // of a record beside its message, about
)

// mayFree takes the room for a removal while the log is full.
func (s *scarcity) mayFree(f *mqtt.Frame) bool {
	size := int64(f.Size()) + freeEach
	if s.freed.Add(size) <= freeMost {
		return true
	}
	s.freed.Add(-size)
	return false
}

// SetStored says how many bytes one identity may have of what was rescued from the log,
// from now on; 0: as many as it likes. Any goroutine may call it.
func (b *Broker) SetStored(most int64) { b.scarcity.stored.Store(most) }

// Share is the part of most that one identity may have where it is scarce; 0: all of it.
func (b *Broker) Share(most int64) int64 {
	percent := int64(b.Settings().IdentityShare)
	if percent <= 0 || percent >= 100 {
		return 0
	}
	return max(1, most/100*percent+most%100*percent/100)
}

// Belongings is about how much an identity has of what all share on the disk.
type Belongings struct {
	RetainedMessages int
	RetainedBytes    int64
	StoredBytes      int64 // of what sessions have not come for, and the log had no room for any more
}

// belongings are those of a mountpoint and identity.
func (h *Home) belongings(mountpoint, identity string) (has Belongings) {
	if !h.kept() {
		return has
	}
	by, ix := h.authorID(mountpoint, identity), h.b.durable.Index
	has.RetainedMessages, has.RetainedBytes = ix.RetainedBy(by)
	has.RetainedBytes = retain.InMemoryBytes(has.RetainedMessages, has.RetainedBytes)
	has.StoredBytes = ix.RescuedBy(by)
	return has
}

// authorNames is how many names of authors a home remembers: to make one takes a
// microsecond, which a publish has not.
const authorNames = 256

type authorName struct {
	mountpoint, identity string
	id                   fact.AuthorID
}

// authorID names an identity in records. The home must have a log.
func (h *Home) authorID(mountpoint, identity string) fact.AuthorID {
	if h.authors == nil {
		h.authors = make([]authorName, authorNames)
	}
	n := &h.authors[h.b.had.Place(identity)%authorNames]
	if n.id == 0 || n.identity != identity || n.mountpoint != mountpoint {
		*n = authorName{mountpoint, identity, h.b.durable.Key.AuthorID(mountpoint, identity)}
	}
	return n.id
}

// name is that of an author; 0: the broker itself.
func (h *Home) name(a *author) fact.AuthorID {
	if a.by == nil {
		return 0
	}
	return h.authorID(a.by.Mountpoint, a.by.Identity)
}

// hoardsRetained refuses one more retained message, or a larger one, to who has very many,
// while there is little room.
func (h *Home) hoardsRetained(now time.Time, a *author, f *mqtt.Frame) bool {
	messages, bytes := h.b.retained.Stats()
	most := h.b.retained.Limits()
	short := [2]bool{scarceOf(int64(messages), int64(most.MessagesMax)), scarceOf(bytes, most.BytesMax)}
	if !short[0] && !short[1] {
		return false
	}
	has := h.belongings(a.by.Mountpoint, a.by.Identity)
	number, size := h.b.Share(int64(most.MessagesMax)), h.b.Share(most.BytesMax)
	if (!short[0] || number == 0 || int64(has.RetainedMessages) < number) && (!short[1] || size == 0 || has.RetainedBytes < size) || !h.b.retained.Grows(f) {
		return false
	}
	h.sayHoard(now, a, metrics.RetainedHoarded, "a user has more than its share of the retained messages, and gets no more while they are scarce",
		slog.Int("messages", has.RetainedMessages), slog.Int64("bytes", has.RetainedBytes))
	return true
}

// scarceOf tells whether little is left of most; less than 0 is no limit.
func scarceOf(now, most int64) bool { return most >= 0 && now >= most-most/scarceFrom }

// hoardsStore refuses one more message for the log to who has published very much of what
// it keeps for those who do not come.
func (h *Home) hoardsStore(now time.Time, a *author) bool {
	most := h.b.scarcity.stored.Load()
	if most == 0 {
		return false
	}
	has := h.b.durable.Index.RescuedBy(h.name(a))
	if has < most {
		return false
	}
	h.sayHoard(now, a, metrics.StoreHoarded, "a user has published more than its share of what the store keeps for clients that do not come, and is refused while that is scarce",
		slog.Int64("bytes", has))
	return true
}

func (h *Home) sayHoard(now time.Time, a *author, count metrics.ID, what string, has ...slog.Attr) {
	h.count.Inc(count)
	h.b.log.Event(now, slog.LevelWarn, what, a.by.Identity, append([]slog.Attr{
		slog.String("user", a.by.Username), slog.String("client_id", a.by.ClientID), slog.String("listener", a.by.Listener), slog.String("limit", "limits.identity_share"),
	}, has...)...)
}
