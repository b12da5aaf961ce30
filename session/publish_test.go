package session

import (
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// verdict is what becomes of a PUBLISH from the client.
type verdict uint8

const (
	againstRules verdict = iota // the connection closes
	answered                    // seen before: answered, not routed
	swallowed                   // seen before, and its answer is under way
	deferred                    // joined the pending ring
	toRoute                     // goes to whoever wants it, then Await or Acknowledge
)

// take does with a PUBLISH what package broker does before it asks who may and
// who wants.
func take(s *Session, l *ledger, p *mqtt.Publish) (v verdict, name []byte, outs []Out, err error) {
	if name, err = s.ResolveAlias(p); err != nil {
		return againstRules, nil, nil, err
	}
	again, err := s.Receive(p)
	switch {
	case err != nil:
		return againstRules, nil, nil, err
	case again:
		return answered, name, s.Acknowledge(p.QoS, p.PacketID, mqtt.Success, nil), nil
	case !s.Busy():
		return toRoute, name, nil, nil
	case p.QoS == 2 && s.Duplicate(p.PacketID):
		return swallowed, name, nil, nil
	}
	f := l.frame(string(name), string(p.Payload))
	f.QoS = p.QoS
	s.Defer(Pending{Frame: f.Hold(), QoS: p.QoS, ID: p.PacketID})
	return deferred, name, nil, nil
}

// TestAliasOutlivesItsPacket: a decoded topic is a view into the loop's read
// buffer, which the next packet overwrites.
func TestAliasOutlivesItsPacket(t *testing.T) {
	s := New(Key{}, 1, &Limits{AliasInMax: 1})
	s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: 1}, nil)
	buffer := []byte("plant/a")
	if _, err := s.ResolveAlias(&mqtt.Publish{Topic: buffer, TopicAlias: 1, HasTopicAlias: true}); err != nil {
		t.Fatal(err)
	}
	copy(buffer, "secret!")
	name, err := s.ResolveAlias(&mqtt.Publish{TopicAlias: 1, HasTopicAlias: true})
	if err != nil || string(name) != "plant/a" {
		t.Errorf("alias 1 is %q %v", name, err)
	}
}
