package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// The rules of the rows about rights: a deny inside an allowed wildcard, a space
// that is only the first user's, a group of his, and a grant by client identifier.
const holes = "  - {id: hole, deny: subscribe, users: [" + other + "], topics: [\"a/s\", \"a/s/#\"]}\n" +
	"  - {id: group, deny: subscribe, users: [" + other + "], topics: [\"$share/workers/a/#\"]}\n" +
	"  - {id: wide, allow: all, topics: [\"a/#\", \"alias/#\", \"+/req\"]}\n" +
	"  - {id: first, allow: all, users: [" + user + "], topics: [\"secret/#\", \"" + own + "#\"]}\n" +
	"  - {id: ids, allow: all, users: [" + other + "], topics: [\"dev/${clientid}/#\"]}\n"

// TestRightsAttackRows are the rows about who is delivered what.
func TestRightsAttackRows(t *testing.T) {
	t.Parallel() // two at a time: most of it is waiting
	s := besiege(t, testkit.Options{Rules: rulesOf(holes), Config: "mqtt: {exclusive_subscriptions: true, rewrite: [{action: all, source: \"alias/#\", re: \"^alias/(.+)$\", dest: \"secret/$1\"}]}\n"})
	defer s.report(t)
	t.Run("A049", func(t *testing.T) { s.retainedOfTheRevoked(t) })
	t.Run("A085", func(t *testing.T) { s.groups(t) })
	t.Run("A086", func(t *testing.T) { s.wrappers(t) })
	t.Run("A094", func(t *testing.T) { s.hostileNames(t) })
	t.Run("A109", func(t *testing.T) { s.holesInWildcards(t) })
	t.Run("A111", func(t *testing.T) { s.deniedWill(t) })
	t.Run("A113", func(t *testing.T) { s.refusedRetained(t) })
	t.Run("A114", func(t *testing.T) { s.rewritten(t) })
	t.Run("A115", func(t *testing.T) { s.responder(t) })
	t.Run("A126", func(t *testing.T) { s.kicked(t) })
	t.Run("S-01", func(t *testing.T) { s.access(t) })
}

// retainedOfTheRevoked: what was retained by somebody who has no right any more is
// still delivered to whoever may read it, which is the documented policy, until an
// operator clears it or its expiry has passed (A049, A050).
func (s *siege) retainedOfTheRevoked(t *testing.T) {
	d := s.door("wss")
	m := s.mark(t)
	w := s.come(t, d, mqtt.V5, source(1, d, 0), "origin")
	w.tell("a/r", "of the revoked", 1, retained)
	s.ruled(t, "  - {deny: all, users: ["+other+"], topics: [\"#\"]}\n", holes)
	if code := w.tell("a/r", "again", 1, retained); code != mqtt.NotAuthorized {
		t.Errorf("PUBLISH after: %v", code)
	}
	for i, want := range []int{1, 0} {
		r := s.come(t, d, mqtt.V5, source(1, d, 1), "reader", asUser)
		r.ask(1, "a/r")
		r.tell("a/r", "live", 1)
		if got := r.hear("live", true); len(got) != want {
			t.Errorf("look %d: heard %q", i, got)
		}
		r.leave()
		if i == 1 {
			break
		}
		if out := s.b.Redoubt("", "retained", "clear", "a/r"); out.Code != 0 {
			t.Error(out.Text())
		}
	}
	s.ruled(t, holes)
	w.die()
	s.held(t, m, "A049, A050 retained by somebody whose right has gone", 1, []string{"redoubt_publish_denied_total"}, []string{"publish denied"}, source(1, d, 0))
}

// groups: to join a group the right to its filter is needed; with it, whoever knows
// the name takes part, unless a rule closes the group (A085).
func (s *siege) groups(t *testing.T) {
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(2, d, int(v))
		a := s.come(t, d, v, from, "member", asUser)
		if !granted(a.ask(1, "$share/own/secret/#", "$share/workers/a/work", "$share/open/a/work")) {
			t.Fatal("not granted")
		}
		b := s.come(t, d, v, from, "hijack-"+d.name+v.String())
		if !granted(b.ask(1, "$share/open/a/work")) {
			t.Error("a group is closed to somebody who may read its topics")
		}
		for _, f := range []string{"$share/own/secret/#", "$share/own/secret/x", "$share/workers/a/work", "$share/workers/a/#", "$share/workers/a/+"} {
			codes := b.ask(1, f)
			if granted(codes) {
				t.Errorf("%s is granted", f)
			}
			if codes == nil {
				b = s.come(t, d, v, from, "hijack-"+d.name+v.String())
			}
		}
		for i := range 6 {
			a.tell("secret/x", fmt.Sprint(i), 1)
		}
		a.tell(own+"fence", "fence", 1) // the attacker does not have it, and is asked
		b.ask(1, own+"fence")
		a.tell(own+"fence", "fence", 1)
		if got := b.hear("fence", true); len(got) > 0 {
			t.Errorf("the hijacker heard %q", got)
		}
		if n := len(a.aside); n < 6 {
			t.Errorf("the member got %d of 6", n)
		}
		a.leave()
		b.leave()
		s.held(t, m, fmt.Sprintf("A085 joining somebody's group %s %s", d.name, v), 5, []string{"redoubt_subscribe_denied_total"}, []string{"subscribe denied"}, from)
	})
}

// wrappers: a prefix around a denied filter is taken off before the judgement, and
// a prefix of other brokers is no way in (A086).
func (s *siege) wrappers(t *testing.T) {
	wrapped := []string{"a/s", "a/s/#", "$share/g/a/s", "$share/g/a/s/x", "$share/g/a/s/#", "$share/g/a/s/+", "$exclusive/a/s", "$exclusive/a/s/#",
		"$queue/a/s", "$queue/a/s/#", "$oshare/g/a/s/x", "$share/g/$exclusive/a/s", "$exclusive/$share/g/a/s", "$share/g/$share/g/a/s", "$share/g/$queue/a/s",
		"$share//a/s", "$share/g/", "$share/+/a/s", "$share/#", "$delayed/1/a/s", "$share/g/$delayed/1/a/s"}
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(3, d, int(v))
		id := "wrap-" + d.name + v.String()
		pub := s.come(t, d, v, from, "pub-wrap", asUser)
		pub.tell("a/s", "denied", 1, retained)
		w := s.come(t, d, v, from, id)
		for _, f := range wrapped {
			codes := w.ask(1, f)
			if granted(codes) {
				t.Errorf("%s is granted", f)
			}
			if codes == nil {
				w = s.come(t, d, v, from, id)
			}
		}
		w.ask(1, own+"fence")
		for _, topic := range []string{"a/s", "a/s/x"} {
			pub.tell(topic, "denied", 1)
		}
		pub.tell(own+"fence", "fence", 1)
		if got := w.hear("fence", true); len(got) > 0 {
			t.Errorf("heard %q", got)
		}
		pub.tell("a/s", "", 1, retained)
		pub.leave()
		w.leave()
		s.held(t, m, fmt.Sprintf("A086 wrappers around a denied filter %s %s", d.name, v), len(wrapped), nil, []string{"subscribe denied"}, from)
	})
}

// hostileNames: a client identifier that is syntax expands to nothing in a rule
// (A094).
func (s *siege) hostileNames(t *testing.T) {
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(4, d, int(v))
		for _, id := range []string{"#", "+", "a/b", "victim/#", "$x", "+/+", "victim/..", ".*", "%c"} {
			w := s.come(t, d, v, from, id)
			literal := id == ".*" || id == "%c" // no syntax here: one level like any other
			for _, f := range []string{"dev/#", "dev/+/#", "dev/+", "dev/victim/#", "dev/victim", "dev/" + id + "/x"} {
				codes := w.ask(1, f)
				if granted(codes) != (literal && f == "dev/"+id+"/x") {
					t.Errorf("client %q, %s: %v", id, f, codes)
				}
				if codes == nil {
					w = s.come(t, d, v, from, id)
				}
			}
			if code := w.tell("dev/victim/x", "x", 1); code < 0x80 {
				t.Errorf("client %q publishes: %v", id, code)
			}
			w.die()
		}
		w := s.come(t, d, v, from, "plain")
		if !granted(w.ask(1, "dev/plain/#")) {
			t.Error("a plain name does not expand")
		}
		w.leave()
		s.held(t, m, fmt.Sprintf("A094 names that are syntax %s %s", d.name, v), 9, nil, nil) // the log knows these ids from the first door on
	})
}

// holesInWildcards: a deny inside a granted wildcard holds for what comes live,
// retained, queued, resumed, shared, delayed and as a will (A107, A109, A110).
func (s *siege) holesInWildcards(t *testing.T) {
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(5, d, int(v))
		id := "hole-" + d.name + v.String()
		pub := s.come(t, d, v, from, "pub-"+id, asUser, func(c *mqtt.Connect) {
			c.Will = &mqtt.Will{Topic: "a/s", Payload: []byte("denied will"), QoS: 1}
		})
		pub.tell("a/s", "denied retained", 1, retained)
		pub.tell("$delayed/1/a/s", "denied delayed", 1)
		w := s.come(t, d, v, from, id, lasting)
		for _, f := range []string{"#", "+/s", "+/#", "+/+", "/#", "$share/g/#"} {
			codes := w.ask(2, f)
			if granted(codes) {
				t.Errorf("%s is granted", f)
			}
			if codes == nil {
				w = s.come(t, d, v, from, id, lasting)
			}
		}
		if !granted(w.ask(1, "a/+", "a/#", "$share/hole/a/#", "$exclusive/a/+", own+"fence")) {
			t.Fatal("the wide filters are refused")
		}
		round := func(what string) {
			pub.tell("a/s", "denied "+what, 1)
			pub.tell("a/s/x", "denied "+what, 2)
			pub.release(79)
			pub.tell("a/x", "allowed", 1)
			pub.tell(own+"fence", "fence "+what, 1)
		}
		round("live")
		heard := w.hear("fence live", true)
		w.die()
		round("queued")
		pub.die() // the will
		w = s.come(t, d, v, from, id, lasting)
		heard = append(heard, w.hear("fence queued", true)...)
		if v == mqtt.V5 { // by now the delayed one is due, too
			<-s.second()
		}
		w.tell(own+"fence", "end", 1)
		heard = append(heard, w.hear("end", true)...)
		allowed := 0
		for _, got := range heard {
			if strings.Contains(got, "denied") {
				t.Errorf("heard %q", got)
			} else if strings.Contains(got, "allowed") {
				allowed++
			}
		}
		if allowed < 2 {
			t.Errorf("%d of the allowed messages came: %q", allowed, heard)
		}
		s.forget(t, d, v, from, id)
		pub = s.come(t, d, v, from, "pub-"+id, asUser)
		pub.tell("a/s", "", 1, retained)
		pub.leave()
		counted := s.counters(t)["redoubt_delivery_denied_total"] - m.series["redoubt_delivery_denied_total"]
		if counted < 4 {
			t.Errorf("%v denied deliveries are counted", counted)
		}
		s.held(t, m, fmt.Sprintf("A107, A109, A110 a deny in a wildcard %s %s", d.name, v), int(counted), nil, []string{"subscribe denied"}, from)
	})
}

// deniedWill: a will where its client may not publish refuses the CONNECT; nothing
// of it is sent (A111, A041).
func (s *siege) deniedWill(t *testing.T) {
	s.rounds(t, true, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(6, d, int(v))
		watch := s.come(t, d, v, from, "watch-will", asUser)
		if !granted(watch.ask(1, "secret/#", "a/#")) {
			t.Fatal("not granted")
		}
		n := 0
		for _, topic := range []string{"secret/w", "devices/" + user + "/w", "alias/w", "$SYS/w"} {
			for _, retain := range []bool{false, true} {
				w, code := s.knock(t, d, v, from, "deathbed", func(c *mqtt.Connect) {
					c.Will = &mqtt.Will{Topic: topic, Payload: []byte("will"), QoS: 1, Retain: retain}
				})
				if n++; code == 0 {
					t.Errorf("a will for %s: %v", topic, code)
				}
				w.die()
			}
		}
		watch.tell("a/mark", "mark", 1)
		if got := watch.hear("mark", true); len(got) > 0 {
			t.Errorf("heard %q", got)
		}
		watch.leave()
		s.held(t, m, fmt.Sprintf("A111 a will on a denied topic %s %s", d.name, v), n, closedFor("connect_refused"), nil)
	})
	// They were all of one user, who has a line a minute for it.
	s.told(t, mark{}, "CONNECT refused", "not authorized", "deathbed")
}

// refusedRetained: a refused filter brings no retained message (A113).
func (s *siege) refusedRetained(t *testing.T) {
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(7, d, int(v))
		pub := s.come(t, d, v, from, "pub-retained", asUser)
		pub.tell("secret/r", "retained", 1, retained)
		w := s.come(t, d, v, from, "refused-"+d.name+v.String())
		n := 0
		for range 10 {
			n++
			if codes := w.ask(1, "secret/r"); granted(codes) {
				t.Error("granted")
			} else if codes == nil {
				w = s.come(t, d, v, from, "refused-"+d.name+v.String())
			}
		}
		w.ask(1, own+"fence")
		pub.tell(own+"fence", "fence", 1)
		if got := w.hear("fence", true); len(got) > 0 {
			t.Errorf("heard %q", got)
		}
		pub.tell("secret/r", "", 1, retained)
		pub.leave()
		w.leave()
		s.held(t, m, fmt.Sprintf("A113 retained behind a refused filter %s %s", d.name, v), n, []string{"redoubt_subscribe_denied_total"}, []string{"subscribe denied"}, from)
	})
}

// rewritten: the rules judge the topic after rewriting, wherever it comes from
// (A114).
func (s *siege) rewritten(t *testing.T) {
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(8, d, int(v))
		id := "rewrite-" + d.name + v.String()
		pub := s.come(t, d, v, from, "pub-rewrite", asUser)
		pub.tell("secret/x", "retained", 1, retained)
		if !granted(pub.ask(1, "alias/y")) { // the first user may: rewriting works
			t.Error("the one who may read it is refused")
		}
		pub.tell("secret/y", "through", 1)
		if got := pub.hear("through", true); len(got) > 0 {
			t.Errorf("heard %q first", got)
		}
		w := s.come(t, d, v, from, id)
		for _, f := range []string{"alias/x", "alias/+", "alias/#", "$share/g/alias/x", "$exclusive/alias/x"} {
			codes := w.ask(1, f)
			if granted(codes) {
				t.Errorf("%s is granted, as what it becomes is not", f)
			}
			if codes == nil {
				w = s.come(t, d, v, from, id)
			}
		}
		for _, topic := range []string{"alias/y", "$delayed/1/alias/y"} {
			if code := w.tell(topic, "spoofed", 1); code < 0x80 {
				t.Errorf("PUBLISH to %s: %v", topic, code)
			} else if code == closedCode {
				w = s.come(t, d, v, from, id)
			}
		}
		w.ask(1, own+"fence")
		pub.tell("secret/x", "live", 1)
		pub.tell(own+"fence", "fence", 1)
		if got := w.hear("fence", true); len(got) > 0 {
			t.Errorf("heard %q", got)
		}
		pub.tell("secret/y", "end", 1)
		if got := pub.hear("end", true); len(got) > 0 {
			t.Errorf("the attacker published %q", got)
		}
		pub.tell("secret/x", "", 1, retained)
		pub.leave()
		w.leave()
		s.held(t, m, fmt.Sprintf("A114 rewriting into a denied topic %s %s", d.name, v), 7, nil, []string{"denied"}, from)
	})
}

// responder: a Response Topic is data to the broker; what the responder then
// publishes is judged by his own rights (A115).
func (s *siege) responder(t *testing.T) {
	d := s.door("mqtts")
	m := s.mark(t)
	deputy := s.come(t, d, mqtt.V5, source(9, d, 0), "deputy") // may not write there
	if !granted(deputy.ask(1, "a/req")) {
		t.Fatal("not granted")
	}
	asks := s.come(t, d, mqtt.V5, source(9, d, 1), "asks")
	asks.tell("a/req", "request", 1, func(p *mqtt.Publish) { p.Props = append([]byte{0x08, 0, 8}, "secret/z"...) })
	in, err := deputy.publish()
	var request mqtt.Publish
	if err == nil {
		err = mqtt.DecodePublishClient(in.Body, in.Header, mqtt.V5, unlimited, &request)
	}
	if err != nil || string(request.ResponseTopic) != "secret/z" {
		t.Fatalf("the request came with response topic %q, %v", request.ResponseTopic, err)
	}
	if code := deputy.tell(string(request.ResponseTopic), "response", 1); code != mqtt.NotAuthorized {
		t.Errorf("the response: %v", code)
	}
	deputy.leave()
	asks.leave()
	s.held(t, m, "A115 a response topic in a denied space", 1, []string{"redoubt_publish_denied_total"}, []string{"publish denied"}, source(9, d, 0))
}

// kicked: who is kicked, or whose user is deleted, is cut off at once; the will of
// the first is sent and judged, that of the second is not (A126, as far as there
// are no bans yet).
func (s *siege) kicked(t *testing.T) {
	d := s.door("ws")
	m := s.mark(t)
	s.b.AddUser("leaver", "a-long-enough-password-7")
	watch := s.come(t, d, mqtt.V5, source(10, d, 1), "watch-kick", asUser)
	watch.ask(1, "a/#")
	for _, c := range []struct {
		words []string
		wills int
	}{{[]string{"clients", "kick", "evader"}, 1}, {[]string{"user", "delete", "leaver"}, 0}} {
		w := s.come(t, d, mqtt.V5, source(10, d, 0), "evader", lasting, func(c *mqtt.Connect) {
			c.Username, c.Password = "leaver", []byte("a-long-enough-password-7")
			c.Will = &mqtt.Will{Topic: "a/w", Payload: []byte("will"), QoS: 1}
		})
		if out := s.b.Redoubt("", c.words...); out.Code != 0 {
			t.Fatalf("%v: %s", c.words, out.Text())
		}
		w.wantDisconnect(mqtt.AdministrativeAction)
		watch.tell("a/mark", "mark", 1)
		if got := watch.hear("mark", true); len(got) != c.wills {
			t.Errorf("%v: wills %q, want %d", c.words, got, c.wills)
		}
	}
	if _, code := s.knock(t, d, mqtt.V5, source(10, d, 0), "evader", func(c *mqtt.Connect) { c.Username, c.Password = "leaver", []byte("a-long-enough-password-7") }); code == 0 {
		t.Error("the deleted user is let in again")
	}
	watch.leave()
	s.held(t, m, "A126 kicked, and deleted", 2, closedFor("administrative_action"), nil)
}
