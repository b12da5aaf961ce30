package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/topic"
)

// history is some clients, the log and the power at random, and what must hold whatever
// happens.
type history struct {
	t    *testing.T
	seed uint64
	rnd  *rand.Rand
	k    *keptDesk
	all  []*member

	said    map[string]*utterance
	looked  int             // batches of the log that were looked at
	applied map[string]bool // payloads in them
	kept    string          // the newest retained value in them
	tidy    bool            // the log is let go of while all this happens
	failed  bool            // the log refused something
}

// member is a client of the history.
type member struct {
	*patron
	durable bool
	qos     mqtt.QoS // of its subscriptions
	window  int
	v5      bool
	n       int // publishes so far
}

// utterance is a message, and who must have it if it is acknowledged.
type utterance struct {
	by     *member
	n      int
	topic  string
	qos    mqtt.QoS
	retain bool
	to     []*member
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 11)), said: make(map[string]*utterance), applied: make(map[string]bool)} //nolint:gosec // a test
	memory := []int64{64 << 20, 1}[seed/2%2]                                                                                                 // with 1 nothing stays that is on disk
	h.k = newKeptDeskWith(t, 2, retain.Options{MessagesMax: 10_000, BytesMax: 64 << 20, MemoryMax: memory}, func(s *Settings) { s.Session.InflightMax, s.Session.MqueueMessages = 6, 5000 })
	if h.tidy = seed%3 == 1; h.tidy { // with others the index is made anew after each crash
		h.k.fs = vfs.NewCrashableMem()
		h.k.crash()
	}
	for i, user := range []string{"a", "b", "c", "d", "e"} {
		m := &member{durable: user != "e", qos: mqtt.QoS(1 + h.rnd.IntN(2)), window: 1 + h.rnd.IntN(8), v5: user != "d"} //nolint:gosec // 1 or 2
		var how []func(*mqtt.Connect)
		switch {
		case !m.v5:
			how = append(how, v311)
			m.window = 6
		default:
			how = append(how, window(uint16(m.window))) //nolint:gosec // small
		}
		if !m.durable {
			how = append(how, fleeting)
		}
		m.patron = h.k.patron(i%2, user, how...)
		m.watch = h.answered
		h.all = append(h.all, m)
	}
	return h
}

// fatal names the seed with which it happens again.
func (h *history) fatal(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("seed %d: %s", h.seed, fmt.Sprintf(format, args...))
}

var large = " " + strings.Repeat("x", 90<<10)

var someFilters = []string{"open/a", "open/b", "open/+", "open/#", "open/r"}

// step does one thing.
func (h *history) step() {
	m := h.all[h.rnd.IntN(len(h.all))]
	switch n := h.rnd.IntN(100); {
	case n < 5:
		h.toggle(m)
	case n < 17:
		h.publish(m)
	case n < 21:
		if m.alive() && len(m.asking) == 0 {
			m.subscribe(someFilters[h.rnd.IntN(len(someFilters))], m.qos)
		}
	case n < 51:
		m.handle()
	case n < 63:
		h.k.turn()
	case n < 71:
		h.k.log.commit()
	case n < 81:
		h.k.log.show()
		h.look()
	case n < 89:
		h.k.wires[h.rnd.IntN(2)].news()
	case n < 94:
		h.k.readOne(h.rnd)
	case n < 95:
		h.k.now = h.k.now.Add(time.Duration(h.rnd.IntN(400)) * time.Millisecond)
	case n < 96:
		if h.seed%2 == 0 { // with every other seed the log refuses nothing, and the order is promised
			h.fail()
		}
	case n < 97:
		h.k.log.most = 1 + h.rnd.IntN(4)
	case n < 98:
		h.k.log.most = 1000
		h.k.room()
	case n < 99:
		if m.alive() {
			if r := m.seat.resident(); h.rnd.IntN(2) == 0 {
				r.s.Congest()
			} else {
				m.seat.h().Writable(h.k.now, m.seat.ref)
			}
		}
	case h.rnd.IntN(3) == 0:
		h.crash()
	}
	if h.tidy && h.rnd.IntN(20) == 0 {
		if err := h.k.tidyUp(h.rnd); err != nil {
			h.fatal("%v", err)
		}
	}
}

// tidyUp does, at a moment of no one's choice, what cmd does now and then: it lets go of
// what nobody wants, or of everything after what is wanted was rescued, or of what was
// rescued and is not wanted any more.
func (k *keptDesk) tidyUp(rnd *rand.Rand) error {
	below := k.b.Told() + 1
	if below == 1 {
		return nil
	}
	each := func(fn func(now time.Time, h *Home)) { // a home hears its news before it is asked
		for i, home := range k.homes {
			k.wires[i].news()
			fn(k.now, home)
		}
	}
	var err error
	switch rnd.IntN(3) {
	case 0:
		sum := Behind{}
		each(func(_ time.Time, home *Home) { sum = sum.Plus(home.Behind()) })
		if sum = sum.Plus(k.b.LineBehind()); sum.Oldest != 0 {
			below = min(below, sum.Oldest)
		}
		_, err = k.view.Trim(k.t.Context(), below)
	case 1:
		wants := AllWants(each, below)
		if wants.Unsure {
			return nil
		}
		seqs, err := wants.Find(k.view, 0, below)
		if err == nil {
			_, err = k.view.Rescue(k.t.Context(), seqs, nil)
		}
		if err == nil {
			_, err = k.view.Trim(k.t.Context(), below)
		}
		if err != nil {
			return err
		}
	case 2:
		wants := AllWants(each, k.view.Floor())
		if wants.Unsure {
			return nil
		}
		_, err = k.view.Forget(k.t.Context(), wants.Has)
	}
	k.jump(rnd)
	return err
}

// jump goes on in the next block of numbers now and then: what is in the open one cannot be
// let go of, and has 65,536.
func (k *keptDesk) jump(rnd *rand.Rand) {
	if rnd.IntN(2) == 0 {
		k.log.mu.Lock()
		k.log.next = (k.log.next>>16 + 1) << 16
		k.log.mu.Unlock()
	}
}

// toggle connects who is away, and cuts who is there, half of the times.
func (h *history) toggle(m *member) {
	switch {
	case !m.alive():
		m.arrive()
	case h.rnd.IntN(2) == 0:
		m.cut()
	}
}

func (h *history) publish(m *member) {
	if !m.alive() || len(m.sending) >= 6 {
		return
	}
	u := &utterance{by: m, n: m.n, topic: []string{"open/a", "open/b", "open/a/b"}[h.rnd.IntN(3)], qos: mqtt.QoS(1 + h.rnd.IntN(2))} //nolint:gosec // 1 or 2
	if m.user == "a" && h.rnd.IntN(4) == 0 {
		u.topic, u.retain, u.qos = "open/r", true, 1
	}
	payload := fmt.Sprintf("%s%d", m.user, m.n)
	m.n++
	for _, to := range h.all {
		if to.durable && to.wants(u.topic) {
			u.to = append(u.to, to)
		}
	}
	h.said[payload] = u
	more := ""
	if h.rnd.IntN(3) == 0 {
		more = large // so that a few of them are more than a session reads ahead
	}
	m.publishMore(u.topic, payload, more, u.qos, u.retain)
}

// wants tells whether a subscription that was granted matches.
func (m *member) wants(name string) bool {
	for filter := range m.subs {
		if topic.Match(filter, []byte(name)) {
			return true
		}
	}
	return false
}

// fail refuses a batch; when the disk has failed, all that come as well.
func (h *history) fail() {
	err := []error{store.ErrFull, store.ErrFailed}[h.rnd.IntN(2)]
	if h.k.log.fail(err, false) {
		h.failed = true
		h.k.log.mu.Lock()
		h.k.log.dead = h.k.log.dead || err == store.ErrFailed
		h.k.log.mu.Unlock()
	}
}

func (h *history) crash() {
	for _, m := range h.all {
		if m.online {
			m.gone()
		}
	}
	if fs := h.k.fs; fs != nil { // the index loses what it had not flushed
		h.k.fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: h.rnd.IntN(101), RNG: h.rnd})
	}
	h.k.crash()
	h.look()
}

// look notes what was applied since the last look.
func (h *history) look() {
	h.k.log.mu.Lock()
	defer h.k.log.mu.Unlock()
	for ; h.looked < h.k.log.shown; h.looked++ {
		for _, r := range h.k.log.batches[h.looked].recs {
			var m fact.Message
			if (r.Kind == store.Message || r.Kind == store.Retain) && m.Decode(r.Body) == nil {
				h.applied[nameOf(m.Payload)] = true
				if r.Kind == store.Retain {
					h.kept = nameOf(m.Payload)
				}
			}
		}
	}
}

// answered hears that a message was acknowledged: it is on disk if anybody must have it.
func (h *history) answered(payload string) {
	if u := h.said[payload]; (len(u.to) > 0 || u.retain) && !h.applied[payload] {
		h.fatal("%s is acknowledged and not applied", payload)
	}
}

// end lets everything come to rest.
func (h *history) end() {
	if h.k.log.dead {
		h.crash()
	}
	h.k.log.most = 1000
	for quiet := 0; quiet < 4; quiet++ {
		for _, m := range h.all {
			if !m.alive() {
				m.arrive()
				quiet = 0
			} else if m.seat.resident().s.Info().Congested {
				m.seat.h().Writable(h.k.now, m.seat.ref)
			}
		}
		h.k.pass(300 * time.Millisecond)
		h.look()
		for _, m := range h.all {
			for m.handle() {
				quiet = 0
			}
		}
	}
}

// judge looks whether everybody has what was promised.
func (h *history) judge() {
	for _, m := range h.all {
		if len(m.sending) > 0 || len(m.having) > 0 {
			h.fatal("%s is left with %v to settle and %v to release", m.user, m.sending, m.having)
		}
		if m.most > m.window {
			h.fatal("%s was sent %d messages, its window is %d", m.user, m.most, m.window)
		}
		h.judgeArrivals(m)
		r := m.seat.resident()
		if m.durable && (r.s.Inflight() > 0 || r.log.lag.first != 0 || r.log.fetching || r.s.AwaitingRel() > 0) {
			h.fatal("%s has %d under way, %d unreleased, %+v", m.user, r.s.Inflight(), r.s.AwaitingRel(), r.log.lag)
		}
	}
	for _, by := range h.all {
		for _, payload := range by.acked {
			for _, to := range h.said[payload].to {
				if !slices.Contains(to.got, payload) {
					h.fatal("%s was acknowledged and %s never had it: %v", payload, to.user, to.got)
				}
			}
		}
	}
}

func (h *history) judgeArrivals(m *member) {
	times, last := make(map[string]int), make(map[string]int)
	newest := ""
	for _, payload := range m.got {
		u := h.said[payload]
		if u.retain {
			newest = payload
		}
		if times[payload]++; times[payload] > 1 {
			if m.durable && m.qos == 2 && u.qos == 2 && u.by.durable && !u.retain {
				h.fatal("%s had %s twice: %v", m.user, payload, m.got)
			}
			continue
		}
		if h.failed || u.retain || !u.by.durable || !slices.Contains(u.to, m) {
			continue // it may have been said again, after what was said later
		}
		class := fmt.Sprint(u.by.user, u.topic, u.qos)
		if n, ok := last[class]; ok && u.n < n {
			h.fatal("%s had %s after %s%d: %v", m.user, payload, u.by.user, n, m.got)
		}
		last[class] = u.n
	}
	if m.wants("open/r") && newest != h.kept {
		h.fatal("%s is left with %q, and %q is retained: %v", m.user, newest, h.kept, m.got)
	}
}

// readOne lets one of the reads run that were asked for.
func (k *keptDesk) readOne(rnd *rand.Rand) {
	if len(k.reads) > 0 {
		i := rnd.IntN(len(k.reads))
		read := k.reads[i]
		k.reads = slices.Delete(k.reads, i, i+1)
		read()
	}
}

// Whatever happens, and in whichever order: what was acknowledged arrives, in order, once
// where that was promised, and never before it is on disk.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(testkit.Seeds(12, 120)) {
		playHistory(t, seed, 400)
	}
}

func playHistory(t *testing.T, seed uint64, steps int) {
	h := newHistory(t, seed)
	for range steps {
		h.step()
	}
	h.end()
	h.judge()
	for _, m := range h.all {
		m.gone()
	}
	h.k.crash() // it looks whether anything is still held
	if err := h.k.view.Close(); err != nil {
		t.Fatal(err)
	}
}
