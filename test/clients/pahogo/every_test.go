package pahogo

import (
	"encoding/json"
	"fmt"
	"strings"
)

// every is what all versions have. version is part of the names, so that no case
// meets what another left.
var every = []struct {
	name string
	run  func(version string, open opener)
}{
	{"round_trip", func(v string, open opener) {
		a := open("rt-"+v, how{})
		check(a.ask(topic("rt"), 2) == 2, "not granted")
		for qos := range byte(3) {
			a.say(topic("rt"), fmt.Sprint(qos), qos, false)
			m := get(a, fmt.Sprint(qos))
			check(m.qos == qos, "came at QoS %d", m.qos)
		}
		a.leave()
	}},
	{"resume", func(v string, open opener) {
		a := open("re-"+v, how{keep: true})
		a.ask(topic("re"), 1)
		a.cut()
		b := open("re-b-"+v, how{})
		for i := range 5 {
			b.say(topic("re"), fmt.Sprint(i), 1, false)
		}
		c := open("re-"+v, how{keep: true})
		check(c.present() || v == "v31", "the session is gone")
		for i := range 5 {
			get(c, fmt.Sprint(i))
		}
		c.leave()
		b.leave()
		d := open("re-"+v, how{})
		check(!d.present(), "a clean start kept the session")
		d.ask(topic("re/own"), 1)
		quiet(d, topic("re/own"), "marker")
		d.leave()
	}},
	{"will", func(v string, open opener) {
		w := open("wi-w-"+v, how{})
		w.ask(topic("wi"), 1)
		open("wi-"+v, how{will: topic("wi")}).cut()
		get(w, "gone")
		w.leave()
	}},
	{"sys_topics", func(v string, open opener) {
		a := open("sy-"+v, how{})
		check(a.ask("$SYS/broker/uptime", 1) == 1, "not granted")
		for _, retain := range []bool{true, false} {
			m := <-a.inbox()
			check(m.retain == retain && strings.Contains(m.payload, "seconds"), "got %+v", m)
		}
		a.leave()
		refused(v, open("sy-b-"+v, how{other: true}), "$SYS/broker/uptime", 0x87)
	}},
	{"events", events},
	{"delayed", func(v string, open opener) {
		a := open("de-"+v, how{})
		a.ask(topic("de"), 1)
		a.say("$delayed/1/"+topic("de"), "later", 1, false)
		a.say(topic("de"), "now", 1, false)
		get(a, "now")
		check(get(a, "later").topic == topic("de"), "under another topic")
		a.leave()
	}},
	{"exclusive", func(v string, open opener) {
		a := open("ex-a-"+v, how{})
		check(a.ask("$exclusive/"+topic("ex"), 1) == 1, "not granted")
		refused(v, open("ex-b-"+v, how{}), "$exclusive/"+topic("ex"), 0x97)
		a.say(topic("ex"), "mine", 1, false)
		check(get(a, "mine").topic == topic("ex"), "under another topic")
		a.leave()
	}},
	{"rewrite", func(v string, open opener) {
		a := open("rw-"+v, how{})
		a.ask("old/"+settings.Name+"/#", 1)
		a.say("old/"+settings.Name+"/x", "x", 1, false)
		m := get(a, "x")
		check(m.topic == "new/"+settings.Name+"/x", "came as %s", m.topic)
		a.leave()
	}},
	{"auto_subscribe", func(v string, open opener) {
		a := open("as-"+v, how{})
		a.say("auto/"+settings.Name+"-as-"+v, "x", 1, false)
		get(a, "x")
		a.leave()
	}},
	{"mountpoint", func(v string, open opener) {
		a, b := open("mo-a-"+v, how{port: settings.Tenant}), open("mo-b-"+v, how{})
		inside, outside := settings.Name+"/x", "tenants/"+settings.User+"/"+settings.Name+"/x"
		a.ask(inside, 1)
		b.ask(outside, 1)
		a.say(inside, "x", 1, false)
		check(get(a, "x").topic == inside && get(b, "x").topic == outside, "under another topic")
		a.leave()
		b.leave()
	}},
	// Two members of two libraries and versions take turns.
	{"shared", func(v string, open opener) {
		members := []client{open("sh-0-"+v, how{}), three(4)("sh-1-"+v, how{})}
		for _, m := range members {
			check(m.ask("$share/"+settings.Name+"/"+topic("sh"), 1) == 1, "not granted")
		}
		a := open("sh-a-"+v, how{})
		for i := range 4 {
			a.say(topic("sh"), fmt.Sprint(i), 1, false)
		}
		for i := range 4 {
			get(members[i%2], fmt.Sprint(i))
		}
		for _, c := range append(members, a) {
			c.leave()
		}
	}},
}

// refused: 3.1 has no code for it and the connection ends.
func refused(v string, c client, topic string, reason int) {
	want := map[string]int{"v31": -1, "v311": 0x80, "v5": reason}[v]
	have := c.ask(topic, 1)
	check(have == want, "code %#x, want %#x", have, want)
	if have >= 0 {
		c.leave()
	}
}

func events(v string, open opener) {
	a := open("ev-"+v, how{})
	a.ask("$events/client/#", 1)
	open("ev-b-"+v, how{}).leave()
	for _, want := range []string{"$events/client/connected", "$events/client/disconnected"} {
		for {
			m := <-a.inbox()
			var e struct{ Event, ClientID, Username string }
			noError(json.Unmarshal([]byte(m.payload), &e), "event")
			if e.ClientID != settings.Name+"-ev-b-"+v {
				continue // another suite's
			}
			check(m.topic == want && e.Event == want && e.Username == settings.User, "got %+v under %s, want %s", e, m.topic, want)
			break
		}
	}
	a.leave()
}
