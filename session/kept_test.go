package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// keeper plays the home of a session that is kept: it gives it messages of the log and
// counts on what it says.
type keeper struct {
	t      *testing.T
	l      *ledger
	s      *Session
	a      *Account
	seq    uint64   // of the newest message
	behind []uint64 // messages that the session could not take
	frames map[uint64]*mqtt.Frame
	qos    map[uint64]mqtt.QoS
}

func newKeeper(t *testing.T, lim Limits) *keeper {
	k := &keeper{t: t, l: newLedger(t), a: NewAccount(1 << 20), frames: make(map[uint64]*mqtt.Frame), qos: make(map[uint64]mqtt.QoS)}
	lim.Account = k.a
	k.s = New(Key{ClientID: "c"}, 1, &lim)
	k.s.Keep()
	return k
}

var keptLimits = Limits{InflightMax: 10, MqueueMessages: 100, MqueueBytes: 1 << 20, AwaitingRelMax: 10, ReceiveMaximum: 10}

// attach connects and answers what is sent.
func (k *keeper) attach(window uint16) string {
	return k.words(k.s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: window, ExpirySeconds: 100}, nil))
}

// words is what was sent; it is given back.
func (k *keeper) words(outs []Out) string {
	var b []string
	for i := range outs {
		o := &outs[i]
		w := fmt.Sprintf("%s #%d", o.Ack, o.ID)
		if o.Kind == OutPublish {
			w = fmt.Sprintf("%s q%d #%d", o.Frame.Payload(), o.QoS(), o.ID)
			if o.Flags&FlagDup != 0 {
				w += " dup"
			}
			if o.SubID != 0 {
				w += fmt.Sprintf(" by %d", o.SubID)
			}
		}
		b = append(b, w)
		o.Done()
	}
	return strings.Join(b, ", ")
}

// message is the next message of the log.
func (k *keeper) message(q mqtt.QoS) uint64 {
	k.seq++
	f := k.l.frame("t", fmt.Sprint("m", k.seq))
	f.QoS = q
	k.frames[k.seq], k.qos[k.seq] = f, q
	return k.seq
}

// give delivers a message, or notes that the session is behind with it.
func (k *keeper) give(seq uint64) string {
	if len(k.behind) > 0 || !k.s.Ahead(k.frames[seq]) {
		k.behind = append(k.behind, seq)
		return ""
	}
	return k.words(k.s.Deliver(now0, Delivery{Frame: k.frames[seq], Seq: seq, QoS: k.qos[seq]}, nil))
}

// outbox is what the log would be told.
func (k *keeper) outbox() (o []OutEntry, last uint16, change Said) {
	last, change = k.s.Outbox(func(e OutEntry) { o = append(o, e) })
	return o, last, change
}

// close ends the session, which then holds nothing.
func (k *keeper) close() {
	k.s.Discard()
	k.l.settle()
	if k.a.Held() != 0 {
		k.t.Errorf("the account holds %d bytes of a session that is no more", k.a.Held())
	}
}

func (k *keeper) expect(got, want string) {
	k.t.Helper()
	if got != want {
		k.t.Errorf("sent %q, want %q", got, want)
	}
}

// Whatever a session goes through, what waits is later than its cursor, and what is not
// later was sent or given up: after a crash nothing is lost, and nothing but what was
// not acknowledged comes twice.
func TestTheCursorNeverPassesWhatWaits(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test
		lim := keptLimits
		lim.InflightMax, lim.MqueueMessages = 1+rnd.IntN(4), 1+rnd.IntN(80)
		k := newKeeper(t, lim)
		sent := make(map[uint64]bool)
		note := func(outs []Out) {
			for i := range outs {
				if o := &outs[i]; o.Kind == OutPublish {
					var seq uint64
					_, _ = fmt.Sscanf(string(o.Frame.Payload()), "m%d", &seq)
					sent[seq] = true
				}
				outs[i].Done()
			}
		}
		for range 300 {
			switch rnd.IntN(12) {
			case 0:
				if !k.s.Online() {
					note(k.s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: uint16(1 + rnd.IntN(5)), ExpirySeconds: 100}, nil)) //nolint:gosec // small
				}
			case 1:
				if rnd.IntN(4) == 0 && k.s.Online() {
					k.s.Detach(now0, true)
					k.unread()
				}
			case 2:
				k.s.Congest()
			case 3:
				if k.s.Online() {
					note(k.s.Writable(now0, nil))
				}
			case 4, 5:
				_, _, change := k.outbox()
				note(k.s.Stored(now0, change, nil))
			case 6, 7:
				if o, _, _ := k.outbox(); len(o) > 0 && k.s.Online() {
					k.answer(o[rnd.IntN(len(o))], note)
				}
			case 8: // one that may not be delivered
				if seq := k.message(1); len(k.behind) == 0 && k.s.Ahead(k.frames[seq]) {
					giveUp := k.s.Skip
					giveUp(seq)
					sent[seq] = true
				} else {
					k.behind = append(k.behind, seq)
				}
			case 9:
				for len(k.behind) > 0 && k.s.Ahead(k.frames[k.behind[0]]) {
					seq := k.behind[0]
					k.behind = k.behind[1:]
					note(k.s.Deliver(now0, Delivery{Frame: k.frames[seq], Seq: seq, QoS: k.qos[seq]}, nil))
				}
			default:
				seq := k.message(mqtt.QoS(1 + rnd.IntN(2))) //nolint:gosec // 1 or 2
				if len(k.behind) > 0 || !k.s.Ahead(k.frames[seq]) {
					k.behind = append(k.behind, seq)
					continue
				}
				note(k.s.Deliver(now0, Delivery{Frame: k.frames[seq], Seq: seq, QoS: k.qos[seq]}, nil))
			}
			k.judge(seed, sent)
		}
		k.close()
	}
}

// answer acknowledges what a client was sent.
func (k *keeper) answer(e OutEntry, note func([]Out)) {
	i := k.s.out.find(e.ID)
	if s := k.s.out.inflight[i]; s.held != 0 || !s.sent {
		return // it was not sent
	}
	var outs []Out
	var err error
	switch outState(e.State) {
	case awaitPuback:
		outs, err = k.s.Puback(now0, e.ID, nil)
	case awaitPubrec:
		outs, err = k.s.Pubrec(now0, e.ID, mqtt.Success, nil)
	case awaitPubcomp:
		outs, err = k.s.Pubcomp(now0, e.ID, nil)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	note(outs)
}

// unread gives what was not sent back to the log.
func (k *keeper) unread() {
	var list []uint64
	for i := range k.s.out.queue.q12.len() {
		list = append(list, k.s.out.queue.q12.at(i).Seq)
	}
	first, n, _ := k.s.Unread()
	if n != len(list) || n > 0 && first != list[0] {
		k.t.Fatalf("%d messages from %d on were given back; %v waited", n, first, list)
	}
	k.behind = append(list, k.behind...)
}

func (k *keeper) judge(seed uint64, sent map[uint64]bool) {
	k.t.Helper()
	waits := slices.Clone(k.behind)
	for i := range k.s.out.queue.q12.len() {
		waits = append(waits, k.s.out.queue.q12.at(i).Seq)
	}
	for _, seq := range waits {
		if seq <= k.s.Cursor() {
			k.t.Fatalf("seed %d: the cursor is %d and %d waits", seed, k.s.Cursor(), seq)
		}
	}
	under, _, _ := k.outbox()
	for seq := range k.s.Cursor() {
		if seq++; !sent[seq] && !slices.ContainsFunc(under, func(e OutEntry) bool { return e.Seq == seq }) {
			k.t.Fatalf("seed %d: the cursor is %d and %d was never sent", seed, k.s.Cursor(), seq)
		}
	}
	if n := len(k.s.out.inflight); n > k.s.lim.InflightMax {
		k.t.Fatalf("seed %d: %d under way", seed, n)
	}
	least := uint64(0)
	for _, e := range under {
		if least == 0 || e.Seq < least {
			least = e.Seq
		}
	}
	if k.s.out.queue.q12.len() > 0 && least == 0 {
		least = k.s.out.queue.q12.at(0).Seq
	}
	if got := k.s.Needs(); got != least {
		k.t.Fatalf("seed %d: it needs %d, says %d", seed, least, got)
	}
}

// What was under way comes back without its bytes, and nothing is sent before they are
// there: order is order.
func TestWhatWasUnderWayWaitsForItsBytes(t *testing.T) {
	k := newKeeper(t, keptLimits)
	inline := k.l.frame("t", "inline")
	a, b, c := k.message(1), k.message(2), k.message(1)
	k.s.RestoreOut(9, 4, []OutEntry{
		{Seq: a, ID: 1, State: uint8(awaitPuback), QoS: 1}, {ID: 2, State: uint8(awaitPubcomp), QoS: 2},
		{Seq: b, ID: 3, State: uint8(awaitPubrec), QoS: 2}, {Frame: inline, ID: 4, State: uint8(awaitPuback), QoS: 1},
	})
	if got := fmt.Sprint(k.s.Missing(nil), k.s.Cursor(), k.s.Needs()); got != fmt.Sprint([]uint64{a, b}, 9, a) {
		t.Errorf("missing, cursor and needs are %s", got)
	}
	k.expect(k.attach(10), "")
	k.seq = 9
	k.expect(k.give(k.message(1)), "")
	k.s.Supply(b, k.frames[b], 7, nil)
	k.s.Supply(c, k.frames[c], 7, nil) // nobody asked for it
	k.expect(k.words(k.s.Pump(now0, nil)), "")
	k.s.Supply(a, k.frames[a], 0, nil)
	k.s.Supply(a, k.frames[a], 0, nil)
	k.expect(k.words(k.s.Pump(now0, nil)), "m1 q1 #1 dup, PUBREL #2, m2 q2 #3 dup by 7, inline q1 #4 dup, m10 q1 #5")
	if n := k.s.GiveUp(); n != 0 {
		t.Errorf("%d were given up", n)
	}
	k.close()
}

// What the log no longer has is given up, and the rest goes on.
func TestWhatIsLostIsGivenUp(t *testing.T) {
	k := newKeeper(t, keptLimits)
	a, b := k.message(1), k.message(2)
	k.s.RestoreOut(2, 3, []OutEntry{{Seq: a, ID: 1, State: uint8(awaitPuback), QoS: 1}, {Seq: b, ID: 2, State: uint8(awaitPubrec), QoS: 2}, {ID: 3, State: uint8(awaitPubcomp), QoS: 2}})
	k.attach(10)
	k.s.Supply(b, k.frames[b], 0, nil)
	if n := k.s.GiveUp(); n != 1 || len(k.s.Missing(nil)) != 0 {
		t.Errorf("%d were given up, %v are missing", n, k.s.Missing(nil))
	}
	k.expect(k.words(k.s.Pump(now0, nil)), "m2 q2 #2 dup, PUBREL #3")
	if k.s.out.unsent != 0 {
		t.Errorf("%d are said to be unsent", k.s.out.unsent)
	}
	k.close()
}

// Each thing that must not happen twice waits for the change that says it, and only for
// that one.
func TestStoredLetsGoWhatItSays(t *testing.T) {
	k := newKeeper(t, keptLimits)
	k.attach(10)
	k.expect(k.give(k.message(2)), "")
	_, _, first := k.outbox()
	k.expect(k.give(k.message(2)), "")
	k.expect(k.give(k.message(1)), "m3 q1 #3")
	if _, _, must := k.s.Unsaved(); !must {
		t.Error("nothing waits for the log")
	}
	k.expect(k.words(k.s.Stored(now0, first, nil)), "m1 q2 #1")
	_, _, second := k.outbox()
	if begun, ended, must := k.s.Unsaved(); begun != 0 || ended != 0 || must {
		t.Errorf("%d begun, %d ended, must %v, and all is said", begun, ended, must)
	}
	outs, err := k.s.Pubrec(now0, 1, mqtt.Success, nil)
	if err != nil || len(outs) != 0 {
		t.Errorf("PUBREC is answered before the log has heard of it: %v", err)
	}
	k.expect(k.words(k.s.Stored(now0, second, nil)), "m2 q2 #2")
	_, _, third := k.outbox()
	k.expect(k.words(k.s.Stored(now0, third, nil)), "PUBREL #1")
	k.close()
}

// What the log has heard of after the connection ended is sent on the next one, once.
func TestStoredAfterReconnect(t *testing.T) {
	k := newKeeper(t, keptLimits)
	k.attach(10)
	k.give(k.message(2))
	k.give(k.message(2))
	_, _, change := k.outbox()
	k.s.Detach(now0, true)
	k.expect(k.words(k.s.Stored(now0, change, nil)), "")
	k.expect(k.attach(1), "m1 q2 #1") // DUP is clear: it was never sent
	k.s.Detach(now0, true)
	k.expect(k.attach(10), "m1 q2 #1 dup, m2 q2 #2")
	if outs, err := k.s.Pubrec(now0, 1, mqtt.Success, nil); err != nil || len(outs) != 0 {
		t.Error("PUBREC was answered")
	}
	_, _, change = k.outbox()
	k.s.Detach(now0, true)
	k.expect(k.attach(10), "") // the log has not heard of PUBREC, and the rest is behind it
	k.expect(k.words(k.s.Stored(now0, change, nil)), "PUBREL #1, m2 q2 #2 dup")
	k.close()
}

// What the log did not take is said again, all of it.
func TestUnstored(t *testing.T) {
	k := newKeeper(t, keptLimits)
	k.attach(10)
	k.give(k.message(2))
	k.outbox()
	k.s.Unstored()
	if _, _, must := k.s.Unsaved(); !must {
		t.Fatal("nothing waits")
	}
	_, _, change := k.outbox()
	k.expect(k.words(k.s.Stored(now0, change, nil)), "m1 q2 #1")
	k.close()
}

// Only what the log has goes back to it: the rest keeps its place.
func TestUnreadLeavesWhatTheLogHasNot(t *testing.T) {
	k := newKeeper(t, keptLimits)
	k.attach(1)
	k.give(k.message(1))
	k.give(k.message(1))
	k.words(k.s.Deliver(now0, Delivery{Frame: k.l.frame("t", "shared"), QoS: 1}, nil))
	k.give(k.message(1))
	k.words(k.s.Deliver(now0, Delivery{Frame: k.l.frame("t", "zero")}, nil))
	k.s.Detach(now0, true)
	first, n, _ := k.s.Unread()
	if waits, _ := k.s.Queued(); first != 2 || n != 2 || waits != 1 {
		t.Errorf("%d from %d on went back, %d wait", n, first, waits)
	}
	if k.s.Cursor() != 1 {
		t.Errorf("the cursor is %d", k.s.Cursor())
	}
	k.expect(k.attach(10), "m1 q1 #1 dup, shared q1 #2")
	k.close()
}

// A message too large for a read-ahead is taken when nothing else waits, or it would
// never be.
func TestAheadTakesALargeMessageAlone(t *testing.T) {
	k := newKeeper(t, keptLimits)
	large := k.l.frame("t", strings.Repeat("x", AheadBytes+1))
	if k.s.Ahead(large) {
		t.Error("nobody is there")
	}
	k.attach(1)
	if !k.s.Ahead(large) {
		t.Error("it can be sent")
	}
	k.give(k.message(1))
	if !k.s.Ahead(large) {
		t.Error("it can wait alone")
	}
	k.give(k.message(1))
	if k.s.Ahead(large) {
		t.Error("it can wait behind another")
	}
	k.a.SetMax(100)
	if k.s.Ahead(k.frames[1]) {
		t.Error("the node has no room")
	}
	k.close()
}
