package session

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// A session that outlives the process is kept: what it has under way to its client
// is said to the log by its home, at once where a crash would otherwise repeat what
// must come once, and now and then where it may come twice. The session only keeps
// count of what was said; it writes nothing itself.

// kept is that count.
type kept struct {
	changes uint64 // changes that must be on disk before something is sent
	asked   uint64 // of them, said to the log
	ended   uint64 // deliveries
	said    uint64 // of them, said to the log
	stored  uint64 // of those, on disk
	begun   int32  // deliveries that began since the log was told
	open    int32  // times that the log was told and has not answered
}

// settled is the count of all sessions of which the log has heard everything. It stays zero:
// whoever has something to count asks for counting.
var settled kept

// counting is the count of this session, to be changed.
func (o *outbound) counting() *kept {
	if o.kept == &settled {
		o.kept = new(kept)
	}
	return o.kept
}

// settleKept lets go of a count that says nothing, of a session whose client is away. As long as an
// answer of the log is to come, it is about these numbers.
func (s *Session) settleKept() {
	k := s.out.kept
	if k == nil || s.conn.online || k.open > 0 || k.begun > 0 || k.changes != k.asked || k.ended != k.said || k.said != k.stored {
		return
	}
	for i := range s.out.inflight {
		if s.out.inflight[i].held != 0 {
			return
		}
	}
	s.out.kept = &settled
}

func (k *kept) change() uint64 {
	k.changes++
	return k.changes
}

// answered says that the log has answered once.
func (k *kept) answered() { k.open = max(0, k.open-1) }

// Keep makes s a session that outlives the process, from its beginning on.
func (s *Session) Keep() { s.out.kept = &settled }

// Kept tells whether s outlives the process.
func (s *Session) Kept() bool { return s.out.kept != nil }

// The longest read-ahead of a session that takes its messages from the log: what it
// cannot send yet waits in memory only as far as that, and otherwise in the log.
const (
	AheadMessages = 64
	AheadBytes    = 256 << 10
)

// Ahead tells whether a message of the log may be given to the session now: it will
// be sent, or wait in the read-ahead. If not, the session is to read it later.
func (s *Session) Ahead(f *mqtt.Frame) bool {
	if !s.conn.online || !s.lim.Account.room(int64(f.Size())) {
		return false
	}
	if s.sendable(1) {
		return true
	}
	q := &s.out.queue
	n := q.q12.len()
	return n < min(AheadMessages, s.lim.MqueueMessages) && q.bytes+int64(f.Size()) <= min(s.lim.MqueueBytes, AheadBytes) || n == 0 && q.q0.len() == 0 && int64(f.Size()) <= s.lim.MqueueBytes
}

// Hungry tells whether the read-ahead is so short that more should be fetched.
func (s *Session) Hungry() bool {
	return s.conn.online && s.out.queue.q12.len() < AheadMessages/4
}

// Unread takes the messages of the log that were not sent out of the queue, for the
// log has them, and answers the number of the first and their sum.
func (s *Session) Unread() (first uint64, messages int, bytes int64) {
	r := &s.out.queue.q12
	for n := r.len(); n > 0; n-- {
		d := s.take(r)
		if d.Seq == 0 {
			r.push(d)
			s.out.queue.bytes += int64(d.Frame.Size())
			s.lim.Account.add(int64(d.Frame.Size()))
			continue
		}
		if first == 0 {
			first = d.Seq
		}
		messages++
		bytes += int64(len(d.Frame.Topic()) + len(d.Frame.Props()) + len(d.Frame.Payload()))
		d.Frame.Release()
	}
	return first, messages, bytes
}

// Cursor is the last number of the log that was sent or given up; what comes after
// it was not sent.
func (s *Session) Cursor() uint64 { return s.out.cursor }

// Needs is the smallest number of the log that s still has under way or waiting; 0:
// none.
func (s *Session) Needs() (least uint64) {
	note := func(seq uint64) {
		if seq != 0 && (least == 0 || seq < least) {
			least = seq
		}
	}
	for i := range s.out.inflight {
		note(s.out.inflight[i].seq)
	}
	for i := range s.out.queue.q12.len() {
		note(s.out.queue.q12.at(i).Seq)
	}
	return least
}

// Under appends the numbers below below of messages of the log that s has under way or has
// read ahead. Those of which only PUBREL is left are among them: as long as the log has not
// heard of PUBREC, a crash has the message sent again, and who lost it would never send
// PUBREL.
func (s *Session) Under(below uint64, seqs []uint64) []uint64 {
	for i := range s.out.inflight {
		if e := &s.out.inflight[i]; e.seq != 0 && e.seq < below {
			seqs = append(seqs, e.seq)
		}
	}
	for i := range s.out.queue.q12.len() {
		if seq := s.out.queue.q12.at(i).Seq; seq != 0 && seq < below {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// Unsaved is how many deliveries have begun and ended since Outbox was last asked,
// and must tells whether something waits for the log to hear of it.
func (s *Session) Unsaved() (begun, ended int, must bool) {
	k := s.out.kept
	return int(k.begun), int(k.ended - k.said), k.changes > k.asked || k.ended > k.said && s.pinched()
}

// repeatLeast is the least that a crash may repeat of one session, in messages, however
// few its client takes at once: each would otherwise wait for the disk.
const repeatLeast = 16

// pinched tells whether a crash would repeat as much as it may: what is under way, and
// what has ended without the log having it. It is no more than the window, so that a
// client knows what to expect; more is sent when the log has what ended.
func (s *Session) pinched() bool {
	k := s.out.kept
	return k != nil && len(s.out.inflight)+int(k.ended-k.stored) >= max(int(s.conn.window), repeatLeast)
}

// OutEntry is one message under way, as the log keeps it.
type OutEntry struct {
	Seq    uint64
	Frame  *mqtt.Frame // of one that is in memory only; nil if there is nothing more to send but PUBREL
	ID     uint16
	State  uint8
	QoS    mqtt.QoS
	Retain bool
	Group  Group // the shared subscription it came by
}

// Said is how far Outbox has told the log what becomes of a session's deliveries.
type Said struct{ Changes, Ended uint64 }

// Outbox calls each for all that is under way, in the order of sending, and answers
// the packet identifier given out last and how far this tells. The frames are the
// session's.
func (s *Session) Outbox(each func(e OutEntry)) (lastID uint16, said Said) {
	for i := range s.out.inflight {
		e := &s.out.inflight[i]
		o := OutEntry{Seq: e.seq, ID: e.id, State: uint8(e.state), QoS: e.state.qos(), Retain: e.retain, Group: e.group}
		if e.seq == 0 {
			o.Frame = e.frame
		}
		each(o)
	}
	k := s.out.counting()
	k.asked, k.said, k.begun = k.changes, k.ended, 0
	k.open++
	return s.out.lastID, Said{k.changes, k.ended}
}

// Stored says that the log has what Outbox said, and appends to out what waited for
// that.
func (s *Session) Stored(now time.Time, said Said, out []Out) []Out {
	k := s.out.counting()
	k.answered()
	k.stored = max(k.stored, said.Ended)
	for i := 0; i < len(s.out.inflight); i++ {
		e := &s.out.inflight[i]
		if e.held == 0 || e.held > said.Changes {
			continue
		}
		e.held = 0
		if !s.conn.online || !e.sent {
			continue // the next connection sends it in its turn
		}
		if e.state == awaitPubcomp {
			out = append(out, Out{Kind: OutAck, Ack: mqtt.PUBREL, ID: e.id})
			continue
		}
		o := s.again(e)
		s.alias(now, &o)
		e.frame.Hold()
		out = append(out, o)
	}
	s.settleKept()
	return s.Pump(now, out)
}

// Unstored says that the log did not take what Outbox said: it is to be said again.
func (s *Session) Unstored() {
	k := s.out.counting()
	k.answered()
	k.asked, k.said = 0, k.stored
}

// RestoreOut gives an empty session back what it had under way, as the log kept it.
// What has a Seq comes without a frame: Missing and Supply.
func (s *Session) RestoreOut(cursor uint64, lastID uint16, entries []OutEntry) {
	s.out.cursor, s.out.lastID = cursor, lastID
	if len(entries) > 0 { // no more room than that: a start has very many who are away
		s.out.loaded().inflight = make([]inflightEntry, 0, len(entries))
	}
	for _, e := range entries {
		s.begin(inflightEntry{frame: e.Frame, seq: e.Seq, id: e.ID, state: outState(e.State), retain: e.Retain, group: e.Group})
		if e.Frame != nil {
			e.Frame.Hold()
			s.lim.Account.add(int64(e.Frame.Size()))
		}
	}
	s.out.unsent = int32(len(s.out.inflight)) //nolint:gosec // at most 65,535
}

// Missing appends the numbers of messages under way that must be read from the log
// before they can be repeated.
func (s *Session) Missing(seqs []uint64) []uint64 {
	for i := range s.out.inflight {
		if e := &s.out.inflight[i]; e.frame == nil && e.state != awaitPubcomp {
			seqs = append(seqs, e.seq)
		}
	}
	return seqs
}

// Supply gives the session back a message it has under way, with the identifiers of
// the subscriptions it came by.
func (s *Session) Supply(seq uint64, f *mqtt.Frame, subID uint32, subIDs []uint32) {
	for i := range s.out.inflight {
		if e := &s.out.inflight[i]; e.seq == seq && e.frame == nil && e.state != awaitPubcomp {
			e.frame, e.subID, e.subIDs = f.Hold(), subID, subIDs
			s.lim.Account.add(int64(f.Size()))
			return
		}
	}
}

// GiveUp drops what Missing would still name: the log no longer has it, or the client
// may no longer have it.
func (s *Session) GiveUp() (dropped int) {
	for i := 0; i < len(s.out.inflight); {
		if e := &s.out.inflight[i]; e.frame == nil && e.state != awaitPubcomp {
			s.remove(i)
			dropped++
			continue
		}
		i++
	}
	return dropped
}

// Skip moves the cursor over messages of the log that will not be sent, unless
// earlier ones are still to be.
func (s *Session) Skip(seq uint64) {
	if s.out.queue.q12.len() == 0 {
		s.out.cursor = max(s.out.cursor, seq)
	}
}

// RestoreReceived gives a session back the QoS 2 identifiers it received and that
// were not released.
func (s *Session) RestoreReceived(ids []uint16) {
	if len(ids) > 0 {
		in := s.receiving()
		in.awaitingRel = append(in.awaitingRel, ids...)
	}
}

// RestoreLife gives an offline session back its expiry and its will, whose times are
// counted from when its connection ended: left, by the clock that people set, which is now at now. From
// here on a clock that is set changes nothing.
func (s *Session) RestoreLife(now, left time.Time, version mqtt.Version, expirySeconds uint32, will *mqtt.Will) {
	s.conn.version = version
	s.will, s.expirySeconds = will, expirySeconds
	s.leave(now.Add(left.Sub(now)))
	if will != nil {
		s.lim.Account.add(WillBytes(will))
	}
}

// Will is the armed will; nil: none.
func (s *Session) Will() *mqtt.Will { return s.will }

// NeedsFrame tells whether an entry in that state may have to be sent again.
func NeedsFrame(state uint8) bool { return outState(state) != awaitPubcomp }

// Inline calls each for every message under way that is in memory only.
func (s *Session) Inline(each func(f *mqtt.Frame)) {
	for i := range s.out.inflight {
		if e := &s.out.inflight[i]; e.seq == 0 && e.frame != nil {
			each(e.frame)
		}
	}
}
