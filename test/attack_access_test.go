package test

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// access is a diagonal of S-01 for packets with the real program: each way to do what no
// rule allows, at another door, in another version and at another QoS each time. All cells
// are TestAccessMatrix of package conn.
func (s *siege) access(t *testing.T) {
	const denied = "secret/s01"
	ways := []struct {
		name string
		try  func(w *wire, v mqtt.Version, q mqtt.QoS) (allowed bool)
	}{
		{"publish", func(w *wire, _ mqtt.Version, q mqtt.QoS) bool { return w.tell(denied, "plain", q) < 0x80 }},
		{"retained", func(w *wire, _ mqtt.Version, q mqtt.QoS) bool {
			return w.tell(denied+"/kept", "kept", q, retained) < 0x80
		}},
		{"delayed", func(w *wire, _ mqtt.Version, q mqtt.QoS) bool {
			return w.tell("$delayed/1/"+denied, "delayed", q) < 0x80
		}},
		{"subscribe", func(w *wire, _ mqtt.Version, q mqtt.QoS) bool { return granted(w.ask(q, denied)) }},
		{"group", func(w *wire, _ mqtt.Version, q mqtt.QoS) bool { return granted(w.ask(q, "$share/g/"+denied)) }},
		{"everything", func(w *wire, _ mqtt.Version, q mqtt.QoS) bool { return granted(w.ask(q, "#")) }},
		{"alias", func(w *wire, v mqtt.Version, q mqtt.QoS) bool {
			if v != mqtt.V5 {
				return w.tell(denied, "no alias", q) < 0x80
			}
			w.tell(denied, "alias", 0, func(p *mqtt.Publish) { p.TopicAlias, p.HasTopicAlias = 1, true })
			return w.tell("", "by alias", q, func(p *mqtt.Publish) { p.TopicAlias, p.HasTopicAlias = 1, true }) < 0x80
		}},
	}
	watch := s.come(t, s.doors[0], mqtt.V5, source(11, s.doors[0], 9), "watch-s01", asUser)
	if !granted(watch.ask(2, "secret/#", "a/#")) {
		t.Fatal("not granted")
	}
	due := s.second()
	for i := range 12 {
		way, d, v, q := ways[i%len(ways)], s.doors[i%4], versions[i%3], mqtt.QoS((i+i/3)%3)
		t.Run(fmt.Sprintf("%s %s %v QoS %d", way.name, d.name, v, q), func(t *testing.T) {
			w := s.come(t, d, v, source(11, d, int(v)), "s01", lasting)
			allowed := way.try(w, v, q)
			silent := q == 0 && i%len(ways) < 3 || q == 0 && way.name == "alias" // at QoS 0 there is nobody to tell
			if allowed && !silent {
				t.Error("allowed")
			}
			watch.tell(denied, "for those who may", 1)
			w.die()
			w, code := s.knock(t, d, v, source(11, d, int(v)), "s01", lasting)
			if code != 0 {
				t.Fatalf("CONNACK %v", code)
			}
			w.ask(1, own+"fence")
			watch.tell(own+"fence", "fence", 1)
			if got := w.hear("fence", true); len(got) > 0 {
				t.Errorf("heard %q", got)
			}
			w.die()
			s.forget(t, d, v, source(11, d, int(v)), "s01")
		})
	}
	<-due
	watch.tell("a/end", "end", 1)
	for _, got := range watch.hear("end", true) {
		if got != denied+"=for those who may" {
			t.Errorf("the watcher heard %q", got)
		}
	}
	late := s.come(t, s.doors[0], mqtt.V5, source(11, s.doors[0], 9), "late-s01", asUser)
	late.ask(1, "secret/#", "a/#")
	late.tell("a/end", "end", 1)
	if got := late.hear("end", true); len(got) > 0 {
		t.Errorf("retained: %q", got)
	}
	late.leave()
	watch.leave()
}
