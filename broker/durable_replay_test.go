package broker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
)

// owedRig is a client that subscribes to many retained messages while they change and the
// power goes, and what must have come to it in the end.
type owedRig struct {
	t      *testing.T
	name   string
	rnd    *rand.Rand
	k      *keptDesk
	sub    *patron
	pub    *patron
	qos    mqtt.QoS
	values map[string]string // what is retained
	last   map[string]string // what came last
	times  map[string]int    // how often each came
	n      int
}

func newOwed(t *testing.T, seed uint64, qos mqtt.QoS, memory int64) *owedRig {
	o := &owedRig{
		t: t, name: fmt.Sprintf("seed %d, QoS %d, %d bytes of memory", seed, qos, memory), rnd: rand.New(rand.NewPCG(seed, 5)), qos: qos, //nolint:gosec // a test
		values: make(map[string]string), last: make(map[string]string), times: make(map[string]int),
	}
	o.k = newKeptDeskWith(t, 2, retain.Options{MessagesMax: 10_000, BytesMax: 64 << 20, MemoryMax: memory})
	o.pub = o.k.patron(0, "pub")
	o.pub.arrive()
	o.sub = o.k.patron(1, "sub", window(uint16(1+o.rnd.IntN(12)))) //nolint:gosec // small
	o.sub.arrive()
	o.sub.hear = func(topic, payload string, _ bool) {
		o.last[topic] = payload
		o.times[topic+"="+payload]++
	}
	o.k.rest()
	return o
}

func (o *owedRig) fatal(format string, args ...any) {
	o.t.Helper()
	o.t.Fatalf("%s: %s", o.name, fmt.Sprintf(format, args...))
}

// publish sets or removes one of the values; large ones are more than a session's record
// repeats, a few of them together.
func (o *owedRig) publish(topic string, remove bool) {
	o.n++
	payload, more := fmt.Sprint("v", o.n), ""
	if remove {
		payload = ""
	} else if o.rnd.IntN(10) == 0 {
		more = large
	}
	o.pub.publishMore(topic, payload, more, 2, true)
	o.k.rest()
	for o.pub.handle() {
		o.k.rest()
	}
	if o.values[topic] = payload; remove {
		delete(o.values, topic)
	}
}

// crash ends the process, and both come back.
func (o *owedRig) crash() {
	o.sub.gone()
	o.pub.gone()
	o.k.crash()
	o.pub.arrive()
	o.k.rest()
}

// finish lets everything arrive.
func (o *owedRig) finish() {
	for quiet := 0; quiet < 3; quiet++ {
		if !o.sub.alive() {
			o.sub.arrive()
			quiet = 0
		}
		o.k.pass(300 * time.Millisecond)
		for o.sub.handle() {
			o.k.rest()
			quiet = 0
		}
	}
}

// What a SUBACK promises of retained messages comes, whenever the power goes: at least
// once, at QoS 2 once, and nothing of it again when it was over.
func TestAnOwedReplaySurvivesCrashes(t *testing.T) {
	crashes, seeds := 0, testkit.Seeds(8, 60)
	for seed := range uint64(seeds) {
		qos, memory := mqtt.QoS(seed%3), []int64{64 << 20, 1, 5000}[seed/3%3]
		o := newOwed(t, seed, qos, memory)
		for i := range 60 {
			o.publish(fmt.Sprintf("open/%d/%d", i%7, i), false)
		}
		filters := []string{"open/+/+"}
		if seed%2 == 0 {
			filters = []string{"open/6/+", "open/0/+", "open/3/+", "open/1/+", "open/2/+", "open/5/+", "open/4/+"}
		}
		for _, filter := range filters {
			o.sub.subscribe(filter, qos)
		}
		for len(o.sub.subs) < len(filters) { // until SUBACK
			o.k.turn()
			o.k.commit()
			o.k.apply()
			o.sub.handle()
		}
		touched := make(map[string]bool)
		for range 30 + o.rnd.IntN(200) {
			switch n := o.rnd.IntN(100); {
			case n < 40:
				o.sub.handle()
			case n < 60:
				o.k.turn()
			case n < 70:
				o.k.commit()
			case n < 78:
				o.k.apply()
			case n < 86:
				o.k.read()
			case n < 90:
				o.k.news()
			case n < 92:
				topic := fmt.Sprintf("open/%d/%d", o.rnd.IntN(7), o.rnd.IntN(60))
				touched[topic] = true
				o.publish(topic, o.rnd.IntN(3) == 0)
			case n < 94:
				o.k.pass(100 * time.Millisecond)
			case n < 96:
				if o.sub.alive() {
					o.sub.cut()
				} else {
					o.sub.arrive()
				}
			case n < 97:
				crashes++
				o.crash()
				if o.rnd.IntN(3) > 0 {
					o.sub.arrive()
				}
			}
		}
		o.finish()
		for topic, is := range o.values {
			if qos > 0 && o.last[topic] != is { // at QoS 0 what is on its way goes with the connection
				o.fatal("%s is left with %q, retained is %q", topic, o.last[topic], is)
			}
		}
		for topic := range touched {
			if _, there := o.values[topic]; qos > 0 && !there && o.last[topic] != "" {
				o.fatal("%s is left with %q, and nothing is retained", topic, o.last[topic])
			}
		}
		for what, times := range o.times {
			if qos == 2 && times > 1 && !strings.HasSuffix(what, "=") {
				o.fatal("%s came %d times", what, times)
			}
		}
		clear(o.times)
		o.crash()
		o.finish()
		for what := range o.times {
			o.fatal("%s came again after all was over", what)
		}
		o.sub.gone()
		o.pub.gone()
		o.k.crash() // it looks whether anything is still held
		if _, held, _ := o.k.b.retained.InMemory(); memory == 1 && held > 0 {
			o.fatal("%d bytes are left in memory", held)
		}
		if err := o.k.view.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if crashes < seeds/2 {
		t.Errorf("only %d crashes", crashes)
	}
}
