package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/internal/wheel"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// keptDesk is a desk whose sessions outlive it. Its log is in the test's hands and the
// view of it is the real one, so that the test says when a batch is on disk, when it is
// applied, when a session may read, and when the power goes.
type keptDesk struct {
	*desk   // of the present process
	log     *vault
	view    *view.View
	reads   []func()   // what sessions asked of the log
	fs      *vfs.MemFS // of the view; nil: a new one for each process
	policy  string     // the list of rules; "": the desk's
	change  []func(*Settings)
	account *session.Account

	retained retain.Options
	lives    map[string]int // the home of each user's session
	conns    uint32
	between  func() // what comes while sessions are back that are not whole; nil: nothing
	slow     bool   // a second goes by between what one home and the next are given back
}

func newKeptDesk(t testing.TB, homes int, change ...func(*Settings)) *keptDesk {
	t.Helper()
	return newKeptDeskWith(t, homes, retain.Options{MessagesMax: 10_000, BytesMax: 64 << 20, MemoryMax: 64 << 20}, change...)
}

// newKeptDeskWith is newKeptDesk with a retained store like that.
func newKeptDeskWith(t testing.TB, homes int, retained retain.Options, change ...func(*Settings)) *keptDesk {
	t.Helper()
	k := &keptDesk{log: newVault(), lives: make(map[string]int), account: session.NewAccount(1 << 30), retained: retained}
	k.change = append([]func(*Settings){func(s *Settings) { s.Session.Account = k.account }}, change...)
	k.log.prompt = true
	key := fact.Value{Name: "filters", Content: make([]byte, len(fact.Key{}))} // the same names in every run
	k.log.Submit(0, []store.Record{{Kind: store.Key, Body: key.Append(nil)}}, func(store.Seq, error) {})
	k.open(t, homes, time.Unix(1_700_000_000, 0))
	k.log.prompt = false
	t.Cleanup(func() { k.view.Close() })
	return k
}

// open begins a process with what the log has.
func (k *keptDesk) open(t testing.TB, homes int, now time.Time) {
	t.Helper()
	fs := k.fs
	if fs == nil {
		fs = vfs.NewMem()
	}
	v, err := view.Open(context.Background(), view.Options{Log: k.log, Folder: "view", FS: fs, Alarm: func(what string, err error) { t.Errorf("%s: %v", what, err) }})
	if err != nil {
		t.Fatal(err)
	}
	k.view = v
	k.retained.Rows = RetainedRows(v)
	k.desk = openDesk(t, homes, &Durable{Log: k.log, Index: v, Key: v.Key(), Node: "n", Do: func(read func()) { k.reads = append(k.reads, read) }}, k.retained, k.change...)
	k.now = now
	if k.policy != "" {
		k.rules(k.policy)
	}
	k.restore()
	v.Run(k.b)
	k.log.mu.Lock()
	k.log.settle()
	k.log.mu.Unlock()
}

// restore does what cmd does when a process begins.
func (k *keptDesk) restore() {
	k.t.Helper()
	var waiters Waiters
	var lives []int // of each session
	err := k.view.Batches(func(list []*view.Session) error {
		homes := make([]Stored, len(k.homes))
		for _, s := range list {
			home := k.lives[s.Identity]
			homes[home].Sessions, lives = append(homes[home].Sessions, s), append(lives, home)
			waiters.Add(s)
		}
		for i, h := range k.homes {
			homes[i].Applied, homes[i].Ended = k.view.Applied(), k.now
			h.Restore(k.now, &homes[i])
			for _, s := range homes[i].Sessions {
				*s = view.Session{} // it is used again
			}
		}
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
	lags, err := waiters.Lags(k.view.Postings)
	if err != nil {
		k.t.Fatal(err)
	}
	owed := make([][]Lag, len(k.homes))
	for i := range lags {
		owed[lives[i]] = append(owed[lives[i]], lags[i])
	}
	for more := true; more; {
		if more, err = k.b.retained.Refill(k.now, 1000); err != nil {
			k.t.Fatal(err)
		}
	}
	if k.between != nil {
		k.between()
	}
	for i, h := range k.homes {
		h.Restored(k.now, owed[i])
		if k.slow {
			h.Tick(k.now.Add(wheel.Tick))
		}
	}
	for _, h := range k.homes {
		h.Begin()
	}
	waits := make([][]*view.Delayed, len(k.homes))
	err = k.view.Delayed(func(d *view.Delayed) error {
		home := k.lives[d.Identity]
		waits[home] = append(waits[home], d)
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
	for i, h := range k.homes {
		h.RestoreDelayed(waits[i])
	}
}

// crash ends the process with no word to anybody and begins another with what is on
// disk.
func (k *keptDesk) crash() {
	k.t.Helper()
	if err := k.view.Close(); err != nil {
		k.t.Fatal(err)
	}
	for _, h := range k.homes { // the memory of a process goes with it; its accounts stay, here
		for _, r := range h.slots {
			if r != nil {
				r.s.Discard()
			}
		}
		h.work.delayed.Clear()
	}
	if held := k.account.Held(); held != 0 {
		k.t.Fatalf("sessions that have gone still hold %d bytes", held)
	}
	k.reads = nil
	k.log.restart()
	k.open(k.t, len(k.homes), k.now)
}

// news gives every home what was posted; false if there was nothing.
func (k *keptDesk) news() (any bool) {
	for _, w := range k.wires {
		any = w.news() || any
	}
	return any
}

// read lets the reads run that were asked for, and gives the homes what they found.
func (k *keptDesk) read() (any bool) {
	reads := k.reads
	k.reads = nil
	for _, read := range reads {
		read()
	}
	return len(reads) > 0
}

// commit has all on disk that waits for it.
func (k *keptDesk) commit() (any bool) {
	for k.log.commit() {
		any = true
	}
	return any
}

// apply has the view apply all that is on disk, and the homes hear of it.
func (k *keptDesk) apply() (any bool) {
	for k.log.show() {
		any = true
	}
	return k.news() || any
}

// room tells the homes that the log has room, if they were told that it has none.
func (k *keptDesk) room() (any bool) {
	k.log.mu.Lock()
	any = k.log.refused && len(k.log.waiting) < k.log.most
	k.log.refused = k.log.refused && !any
	k.log.mu.Unlock()
	if any {
		k.b.Room()
	}
	return any
}

// flush ends the turns and has on disk and applied what they said, and no more: nobody
// reads.
func (k *keptDesk) flush() {
	k.turn()
	k.commit()
	k.apply()
}

// rest goes on until there is nothing more to do at this moment.
func (k *keptDesk) rest() {
	k.t.Helper()
	for range 1000 {
		k.turn()
		any := k.commit()
		any = k.apply() || any
		any = k.read() || any
		any = k.room() || any
		any = k.news() || any
		for _, w := range k.wires {
			any = any || len(w.inbox) > 0
		}
		if !any && !k.replaying() {
			return
		}
	}
	k.t.Fatal("the broker does not come to rest")
}

func (k *keptDesk) replaying() bool {
	return slices.ContainsFunc(k.homes, func(h *Home) bool { return len(h.work.replaying) > 0 })
}

// pass lets time go by.
func (k *keptDesk) pass(d time.Duration) {
	k.now = k.now.Add(d)
	for _, h := range k.homes {
		h.Tick(k.now)
	}
	k.rest()
}

// guest is a client at the door.
type guest struct {
	seat
	a       Arrival
	waits   bool
	refused *mqtt.Error
}

// knock connects user to the home where its session is, if nothing keeps it waiting.
func (k *keptDesk) knock(user string, change ...func(*mqtt.Connect)) *guest {
	k.t.Helper()
	k.conns++
	g := &guest{seat: seat{d: k.desk, home: k.lives[user], conn: ConnRef{Slot: 1000 + k.conns, Gen: 7}}}
	c := &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 1000, SessionExpiry: 1000}
	for _, ch := range change {
		ch(c)
	}
	by := principal(user)
	if _, e := k.b.Place(&by, c.ClientID); e != nil {
		k.t.Fatal(e)
	}
	g.a = Arrival{Conn: g.conn, Connect: c, By: by, Later: func(refusal *mqtt.Error) { g.waits, g.refused = false, refusal }}
	g.enter()
	return g
}

// enter asks the home to let it in.
func (g *guest) enter() {
	o, refusal := g.h().Open(g.d.now, &g.a)
	g.ref, g.waits, g.refused = o.Ref, o.Later, refusal
}

// in is what it was let in with: whether its session was there already.
func (g *guest) in() (s seat, present bool) {
	g.d.t.Helper()
	if g.refused != nil || g.waits {
		g.d.t.Fatalf("waits %v, refused %v", g.waits, g.refused)
	}
	sent := g.w().sent[g.conn]
	present = sent[0].Bytes[2]&1 == 1
	g.w().sent[g.conn] = sent[1:]
	return g.seat, present
}

// arrive connects user to the home where its session is, and answers with whether that
// was there already. What the log has to hear of first it hears of.
func (k *keptDesk) arrive(user string, change ...func(*mqtt.Connect)) (s seat, present bool) {
	k.t.Helper()
	g := k.knock(user, change...)
	if g.waits {
		if k.flush(); g.refused == nil && !g.waits {
			g.enter()
		}
	}
	return g.in()
}

// join is arrive for who has no session yet, on a home; it is on disk when it returns.
func (k *keptDesk) join(home int, user string, change ...func(*mqtt.Connect)) seat {
	k.t.Helper()
	k.lives[user] = home
	s, present := k.arrive(user, change...)
	if present {
		k.t.Fatalf("%s has a session already", user)
	}
	k.rest()
	return s
}

// back is arrive for who has a session.
func (k *keptDesk) back(user string, change ...func(*mqtt.Connect)) seat {
	k.t.Helper()
	s, present := k.arrive(user, change...)
	if !present {
		k.t.Fatalf("%s has lost its session", user)
	}
	return s
}

// Changes of a CONNECT.
func v311(c *mqtt.Connect)      { c.Version, c.SessionExpiry = mqtt.V311, 0 }
func fleeting(c *mqtt.Connect)  { c.SessionExpiry = 0 }
func cleanSeat(c *mqtt.Connect) { c.CleanStart = true }

func window(n uint16) func(*mqtt.Connect) {
	return func(c *mqtt.Connect) { c.ReceiveMaximum = n }
}

func will(w mqtt.Will) func(*mqtt.Connect) {
	return func(c *mqtt.Connect) { c.Will = &w }
}

// cut ends the connection without a word.
func (s seat) cut() { s.h().Gone(s.d.now, s.ref) }

// leave says DISCONNECT.
func (s seat) leave() { s.h().Disconnect(s.d.now, s.ref, &mqtt.Disconnect{}) }

// ack sends an acknowledgement.
func (s seat) ack(kind mqtt.Type, id uint16) {
	s.h().Ack(s.d.now, s.ref, &mqtt.Ack{Type: kind, PacketID: id})
}

// closed tells whether the broker has closed the connection, and why.
func (s seat) closed() (why mqtt.ReasonCode, closed bool) {
	why, closed = s.w().closed[s.conn]
	return why, closed
}

// words are what was sent since the last call, and it is given back.
func (s seat) words() string {
	var b []string
	for _, o := range s.take() {
		b = append(b, wordsOf(&o))
		o.Done()
	}
	return strings.Join(b, ", ")
}

// wordsOf is one packet as a test writes it: `m1 q1 #7 dup` is a PUBLISH with the payload
// m1, QoS 1 and identifier 7.
func wordsOf(o *session.Out) string {
	switch o.Kind {
	case session.OutAck:
		if o.Reason != 0 {
			return fmt.Sprintf("%s #%d %02x", o.Ack, o.ID, uint8(o.Reason))
		}
		return fmt.Sprintf("%s #%d", o.Ack, o.ID)
	case session.OutPacket:
		return fmt.Sprintf("%s %02x", mqtt.Type(o.Bytes[0]>>4), o.Bytes[len(o.Bytes)-1])
	}
	w := fmt.Sprintf("%s q%d", o.Frame.Payload(), o.QoS())
	if o.ID != 0 {
		w += fmt.Sprintf(" #%d", o.ID)
	}
	if o.Flags&session.FlagDup != 0 {
		w += " dup"
	}
	if o.Flags&session.FlagRetain != 0 {
		w += " retain"
	}
	switch {
	case o.SubIDs != nil:
		ids := slices.Sorted(slices.Values(o.SubIDs))
		w += " by " + strings.Trim(fmt.Sprint(ids), "[]")
	case o.SubID != 0:
		w += fmt.Sprintf(" by %d", o.SubID)
	}
	return w
}

// expect compares what was sent to a client.
func (s seat) expect(want string) {
	s.d.t.Helper()
	if got := s.words(); got != want {
		s.d.t.Errorf("sent %q, want %q", got, want)
	}
}

// wish subscribes and waits for nothing.
func (s seat) wish(filter string, q mqtt.QoS, change ...func(*mqtt.Subscription)) {
	sub := mqtt.Subscription{Filter: filter, QoS: q}
	for _, c := range change {
		c(&sub)
	}
	s.h().Subscribe(s.d.now, s.ref, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{sub}})
}

// hears subscribes, and the subscription is on disk when it returns.
func (k *keptDesk) hears(s seat, filter string, q mqtt.QoS, change ...func(*mqtt.Subscription)) {
	k.t.Helper()
	s.wish(filter, q, change...)
	k.rest()
	if got := s.words(); !strings.HasPrefix(got, fmt.Sprintf("SUBACK %02x", q)) {
		k.t.Fatalf("%s: %s", filter, got)
	}
}

// got are the payloads of the publishes of a QoS among what was sent, which stays there.
func (s seat) got(q mqtt.QoS) string {
	var b []string
	for _, o := range s.w().sent[s.conn] {
		if o.Kind == session.OutPublish && o.QoS() == q {
			b = append(b, string(o.Frame.Payload()))
		}
	}
	return strings.Join(b, " ")
}

// resident is the session behind a seat.
func (s seat) resident() *resident { return s.h().at(s.ref) }
