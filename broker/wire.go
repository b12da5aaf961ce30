package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
)

// ConnRef names a connection of the loop a home lives on. It is checked at each
// use: a reused slot has another generation.
type ConnRef struct{ Slot, Gen uint32 }

// Wire is what a home needs of its loop. All of it is called on the loop's
// goroutine and none of it blocks.
type Wire interface {
	// Send queues o on the connection and takes over o's frame. It answers false
	// when there is no room for more publishes; Home.Writable comes when there is.
	Send(c ConnRef, o session.Out) (room bool)
	// Close sends say, if any and if the version has it, after what was queued,
	// and closes. The home must not use c afterwards.
	Close(c ConnRef, say *mqtt.Disconnect, why Cause)
	// Pause stops reading the connection until then, or until Resume when then
	// is zero.
	Pause(c ConnRef, until time.Time)
	// Resume ends a Pause without a time.
	Resume(c ConnRef)
	// Forward offers a batch to another home's data lane and takes it over, or
	// answers false when the lane is full; then Room comes once it is not.
	Forward(home int, batch *Batch) bool
	// Holds is what the connection itself keeps; the zero Holding where it has gone.
	Holds(c ConnRef) Holding
	// Broad tells whether what is sent from now on is one message for many connections:
	// each has it when others had their turns, too. It is false at first. was is what held
	// before, which a message that comes in the middle of another one leaves behind.
	Broad(on bool) (was bool)
	// Again asks for another turn soon, without waiting for input.
	Again()
	// Post runs fn on the loop's goroutine, in the order of the calls. It is the only
	// one that any goroutine may call; after the loop has ended fn does not run.
	Post(fn func(now time.Time))
}

// Holding is what a connection keeps beside its session.
type Holding struct {
	In     int64         // of a packet that has come in part, bytes
	Out    int64         // encoded and not taken by the network, and places in the queue before it, bytes
	Silent time.Duration // since the last whole packet of its client
}

// Cause is why a connection ended: for metrics, logs and the will.
type Cause uint8

// The causes.
const (
	CauseGone           Cause = iota // the peer closed, or the network failed
	CauseDisconnect                  // DISCONNECT
	CauseHandshake                   // TLS failed
	CauseConnectTimeout              // no accepted CONNECT within the deadline
	CauseConnectRefused              // CONNACK with a refusal
	CauseKeepAlive
	CauseMalformed
	CauseProtocol
	CauseTooLarge
	CauseNotAuthorized
	CauseExpired // the credential has a last second, and that is over
	CauseTakenOver
	CauseKicked
	CauseSlow
	CauseQuota
	CauseEvicted  // from a full waiting room, for a newer one
	CauseOverload // the node is short of memory, and it keeps some
	CauseServerError
	CauseShutdown
	Causes // how many there are
)

var causeNames = [Causes]string{
	"client gone", "client disconnect", "handshake failed", "connect deadline", "connect refused",
	"keep alive timeout", "malformed packet", "protocol error", "packet too large", "not authorized", "credential expired",
	"session taken over", "administrative action", "slow reader", "quota exceeded", "evicted", "overload", "server error", "shutting down",
}

// String is the word logs use.
func (c Cause) String() string { return causeNames[c] }

// CauseOf is the cause that fits a peer's mistake.
func CauseOf(e *mqtt.Error) Cause {
	switch e.Reason {
	case mqtt.MalformedPacket:
		return CauseMalformed
	case mqtt.PacketTooLarge:
		return CauseTooLarge
	case mqtt.NotAuthorized:
		return CauseNotAuthorized
	case mqtt.QuotaExceeded, mqtt.MessageRateTooHigh, mqtt.ReceiveMaximumExceeded:
		return CauseQuota
	case mqtt.KeepAliveTimeout:
		return CauseKeepAlive
	case mqtt.AdministrativeAction: // a ban, which is no mistake of the client's
		return CauseKicked
	}
	return CauseProtocol
}

// Batch is what one home sends another in a turn.
type Batch struct {
	items []forward
	bytes int
}

// Bytes is what the batch counts against the bound of a data lane.
func (b *Batch) Bytes() int { return b.bytes }

// forward is one message for one session of another home. It owns a reference
// to the frame.
type forward struct {
	frame *mqtt.Frame
	to    router.Ref
	want  want
}

// want is what all matching subscriptions of one session make of a message.
type want struct {
	subIDs []uint32 // several identifiers
	subID  uint32
	group  session.Group // the shared subscription it goes by
	qos    mqtt.QoS
	passes uint8 // how many members of the group could not have it
	retain bool  // Retain As Published
	check  bool  // judge the delivery

	broad    bool // it is one of many
	durable  bool // one of them is served by the log
	promised bool // the member has room for it
}

// forwardCost is what an item counts for beside its frame, bytes. A frame counts once for
// all items in a row that share it, as it is once in memory: a message of a megabyte for a
// hundred must not shut out what others say.
const forwardCost = 64

// costAfter is what an item counts for behind another; nil: behind none of its frame.
func (it *forward) costAfter(before *forward) int {
	if before != nil && before.frame == it.frame {
		return forwardCost
	}
	return it.frame.Size() + forwardCost
}

// last is the last item; nil: there is none.
func last(items []forward) *forward {
	if len(items) == 0 {
		return nil
	}
	return &items[len(items)-1]
}
