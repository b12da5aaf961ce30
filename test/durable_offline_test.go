package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// offlineMessages are published for somebody who is away.
const offlineMessages = 1000

// TestKill9Offline: Mosquitto's own client subscribes and goes; what is published
// meanwhile and acknowledged is there for it after a kill, in order, of either version.
func TestKill9Offline(t *testing.T) { faults(t, true, offline) }

func offline(t *testing.T, k *killable) {
	all := mine("offline")
	from := map[string][]string{"mqttv311": {"-c"}, "mqttv5": {"-c", "-x", "3600"}}
	for version, args := range from {
		from[version] = append(args, "-q", "1", "-i", "offline-"+version)
		sub(t, k.Broker, version, all, from[version]...).Stop()
	}
	var lines strings.Builder
	var want []string
	for n := range offlineMessages {
		fmt.Fprintf(&lines, "%d\n", n)
		want = append(want, fmt.Sprint(n))
	}
	r := testkit.Exec(t, 2*patience, lines.String(), testkit.Need(t, "mosquitto_pub"), "-h", "localhost", "-p", port(k.Broker), "--cafile", k.CA(), "-V", "mqttv5",
		"-u", user, "-P", password, "-t", all, "-q", "1", "-l")
	if r.Code != 0 {
		t.Fatalf("mosquitto_pub: exit code %d\n%s", r.Code, r.Text())
	}

	k.restart()
	for version, args := range from {
		s := sub(t, k.Broker, version, all, args...)
		s.Stdout.WaitFor(patience, 0, fmt.Sprintf("got %s %d ", all, offlineMessages-1))
		got := payloadsOf(s)
		if missing := minus(want, got); len(missing) > 0 {
			t.Errorf("%s: %d of %d messages came; missing is %q", version, len(got), offlineMessages, some(missing))
		} else if !slices.Equal(got, want) {
			at := 0
			for at < len(want) && got[at] == want[at] {
				at++
			}
			t.Errorf("%s: %d messages came, not in order or more than once: after %d as they should be, %q", version, len(got), at, some(got[at:]))
		}
		s.Stop()
	}
}

// minus is what is in a and not in b.
func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(x string) bool { return slices.Contains(b, x) })
}

// some is the begin of a list, for messages.
func some(list []string) []string { return list[:min(len(list), 10)] }

// payloadsOf is what mosquitto_sub has printed.
func payloadsOf(p *testkit.Process) (payloads []string) {
	for _, line := range p.Stdout.Lines() {
		if words := strings.Fields(line); len(words) == 5 && words[0] == "got" {
			payloads = append(payloads, words[2])
		}
	}
	return payloads
}

// retainedMessages are kept, of which the first is replaced and the last is cleared.
const retainedMessages = 101

// TestKill9Retained: whoever subscribes after a kill gets the newest retained message
// of each topic, and none that was cleared.
func TestKill9Retained(t *testing.T) { faults(t, true, keepRetained) }

func keepRetained(t *testing.T, k *killable) {
	w, _ := k.enter(mqtt.V5, "keeper")
	keep := func(n int, payload string) {
		t.Helper()
		if rc := w.tell(mine(fmt.Sprintf("kept/%03d", n)), payload, mqtt.QoS(n%2+1), retained); rc.Failed() {
			t.Fatalf("message %d: %v", n, rc)
		}
		if n%2 == 1 {
			w.release(79)
		}
	}
	want := []string{"new"}
	for n := range retainedMessages {
		keep(n, fmt.Sprint(n))
		if n > 0 && n < retainedMessages-1 {
			want = append(want, fmt.Sprint(n))
		}
	}
	keep(retainedMessages-1, "")
	keep(0, "new")

	k.restart()
	s := sub(t, k.Broker, "mqttv5", mine("kept/+"), "-q", "1")
	mustPub(t, k.Broker, "mqttv5", mine("kept/end"), "end", "-q", "1")
	got(t, s, mine("kept/end")+" end q1 r0")
	have := payloadsOf(s)
	have = have[:max(0, len(have)-1)]
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("%d retained messages, want %d; missing is %q, too many are %q", len(have), len(want), some(minus(want, have)), some(minus(have, want)))
	}
	s.Stop()
}

// TestKill9Subscriptions: a session has after a kill the subscriptions it had before,
// with their options, and not the one it gave up.
func TestKill9Subscriptions(t *testing.T) { faults(t, false, keepSubscriptions) }

func keepSubscriptions(t *testing.T, k *killable) {
	w, _ := k.enter(mqtt.V5, "keeper")
	w.send((&mqtt.Subscribe{PacketID: 1, SubscriptionID: 7, Filters: []mqtt.Subscription{{Filter: mine("a/+"), QoS: 1, RetainAsPublished: true}, {Filter: mine("b"), QoS: 2, NoLocal: true}}}).Append(nil, w.v, 0))
	w.want(mqtt.SUBACK)
	w.ask(2, mine("a/b/c"), mine("gone"))
	w.drop(mine("gone"))

	k.restart()
	w = k.back(mqtt.V5, "keeper")
	pub, _ := k.enter(mqtt.V5, "pub")
	for _, name := range []string{"gone", "b", "a/b/c", "a/b"} {
		if rc := w.tell(mine(name), "own", 1); rc.Failed() {
			t.Errorf("%s: %v", name, rc)
		}
		if rc := pub.tell(mine(name), "other", 1, retained); rc.Failed() {
			t.Errorf("%s: %v", name, rc)
		}
	}
	pub.tell(mine("a/end"), "end", 1)
	// Topic, payload, subscription identifiers, RETAIN.
	want := []string{"b other [7] false", "a/b/c own [] false", "a/b/c other [] false", "a/b own [7] false", "a/b other [7] true", "a/end end [7] false"}
	var got []string
	for len(got) == 0 || !strings.Contains(got[len(got)-1], " end ") {
		m := w.take()
		got = append(got, fmt.Sprintf("%s %s %v %v", strings.TrimPrefix(string(m.Topic), mine("")), m.Payload, m.SubscriptionIDs, m.Retain))
		w.answer(mqtt.PUBACK, m.PacketID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
