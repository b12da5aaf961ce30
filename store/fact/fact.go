// Package fact is what the records of the log say: the body of each kind, as a
// value and as bytes. Whoever writes a record and the view that applies it agree
// here and nowhere else.
//
// A body is encoded in one way only, so that two nodes that hold the same records
// hold the same bytes. Decoding allocates nothing that the bytes do not justify:
// slices are parts of the input, strings are copies, and a count is checked against
// what is left before room is made for it.
//
// The first byte of every body is its format. A format that is not known is
// refused, never guessed.
//
// Rules: design section 4; docs/adr/0008-the-view.md.
package fact

import (
	"net/netip"

	"github.com/redoubtmq/redoubt/store"
)

// FilterID names a topic filter in Message records and in the view: a keyed hash,
// never 0, so that a client cannot choose filters that share one. Whoever reads by
// it verifies the topic.
type FilterID uint64

// AuthorID names an identity at its mountpoint, of which limits ask how much it has: a
// keyed hash, as of a filter. Two of one name are taken for one.
type AuthorID uint64

// FiltersMax is how many filters a Message names; one that matched more is Broad.
const FiltersMax = 64

// Message is a publish that somebody durable wants: the body of store.Message, and
// of store.Retain and store.Unretain, which are also messages. The record's SID and
// Epoch are the publisher's if its session is durable, and At is when it was
// published.
type Message struct {
	Topic, Props, Payload []byte // Props as mqtt.NewFrame takes them
	QoS                   uint8
	Retain                bool
	Broad                 bool  // more than FiltersMax filters matched: every reader looks at it
	ExpiresAt             int64 // Unix milliseconds; 0: never
	Filters               []FilterID
	Only                  store.Seq // of an Unretain: it takes away the message of the record with this number and no other; 0: whatever there is
	By                    AuthorID  // who published it; 0: nobody whom limits are for, or a record of before there was this
}

// Owner is whose a session is and who it was when it last connected.
type Owner struct {
	Mountpoint, Identity, ClientID string // these three name the session
	Username, Listener, Method     string
	Proof                          uint64
	Addr                           netip.Addr
}

// Claim is the body of store.Claim: the record's epoch owns the session from here
// on, and everything of an older one that comes later is fenced. A claim of an epoch
// that is not greater than the session's is itself fenced. A claim disarms the will
// of the connection before.
//
// A claim that Moves is of a node which has no connection for the session yet: it takes
// over what there is, with the will and the expiry as they are, and only if there is
// something. Of the Owner only the three names count then.
//
// A claim that is Sure names the epoch it follows: if the session has another one, or
// there is a session and From is 0, it is fenced.
type Claim struct {
	Owner
	Node          string
	Version       uint8 // of the protocol
	Clean         bool  // whatever the session was before is gone
	Moves         bool
	Sure          bool
	From          uint64
	ExpirySeconds uint32
}

// Release is the body of store.Release: the session's connection ended at At.
type Release struct {
	ExpirySeconds uint32
	KeepWill      bool // false: the will is disarmed
}

// Will is the body of store.Will: what is published when the connection ends.
// store.WillFire has no body and disarms it: it stands in one batch with what the
// will became.
type Will struct {
	Topic, Props, Payload []byte
	QoS                   uint8
	Retain                bool
	HasExpiry             bool
	ExpirySeconds         uint32 // of the message
	DelaySeconds          uint32
	By                    Token
}

// Subscription is the body of store.Subscribe. A subscription brings what comes after
// its own record; one that replaces another with the same Filter and Real goes on
// from where that one began [MQTT-3.8.4-4].
type Subscription struct {
	Filter, Real      string // as the client wrote it; as it is matched
	ID                FilterID
	SubID             uint32
	QoS               uint8
	NoLocal           bool
	RetainAsPublished bool
	Exclusive         bool
	Owed              bool // what is retained when the record is applied is still to be sent
}

// Unsubscription is the body of store.Unsubscribe.
type Unsubscription struct{ Filter string }

// Outbox is the body of store.Inflight and of store.Ack: all of what a session has
// under way to its client, in place of what was said before. Inflight says it before
// something is sent that must not be sent twice, Ack says it now and then.
type Outbox struct {
	Cursor  store.Seq // whatever is not later was sent, or will not be; Entries are what is not acknowledged yet
	LastID  uint16    // packet identifier
	Entries []Sent

	// What is owed of retained messages: all of what Subscribe records up to Heard owe, as
	// far as it was not sent. Of later ones this says nothing.
	Heard   store.Seq
	Replays []Replay
}

// Replay is retained messages on their way to a subscription: those of records up to
// UpTo whose topics Real matches, from Cursor on.
type Replay struct {
	Filter, Real string // as the client wrote it; what is matched
	UpTo         store.Seq
	Cursor       []byte // as package retain writes it; nil: nothing was sent yet
}

// Sent is one message the client has not acknowledged.
type Sent struct {
	Seq    store.Seq // of its Message; 0: the message is in Inline
	ID     uint16    // packet identifier
	State  uint8     // as package session numbers them
	QoS    uint8     // that it is delivered with
	Retain bool      // RETAIN as delivered
	Share  FilterID  // the member of a shared group that it was given to; 0: none
	Inline []byte    // an encoded Message
}

// PacketID is the body of store.QoS2In, a QoS 2 message was received and not yet
// released, and of store.QoS2Rel, it was released.
type PacketID struct{ ID uint16 }

// Value is the body of store.Config, User, Rule, Ban and Key: the value of a name
// within its kind, or that there is none any more.
type Value struct {
	Name    string
	Gone    bool
	Content []byte
}

// Mark is the body of store.Hash: a sign of life. Its record's At says that the node
// ran until then.
type Mark struct{ Node string }
