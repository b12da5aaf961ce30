package broker

import (
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// What a subscriber needs for a moment, for what is retained, does not stay with it.
func TestNothingStaysOfAReplay(t *testing.T) {
	d := newDesk(t, 1)
	sub, pub := d.sit(0, "sub"), d.sit(0, "pub")
	pub.publish("open/x", "kept", 0, 0, func(p *mqtt.Publish) { p.Retain = true })
	d.turn()
	sub.subscribe("open/x", 1)
	if sub.resident().some == nil {
		t.Fatal("it is owed nothing: this test shows nothing")
	}
	d.turn()
	if s := sub.resident().some; s != nil {
		t.Errorf("%+v stays", *s)
	}
	if calm.sharing.member != nil || calm.sharing.lines != nil || calm.replays != nil || calm.war != nil || calm.lost != nil || calm.hold != (hold{}) {
		t.Errorf("what all share has %+v", calm)
	}
}
