package session

import (
	"bytes"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Topic aliases belong to one connection and one direction [MQTT-3.3.2-7]. Each
// side keeps at most its limit of names, and all of them together count against
// the node's account like anything else a client makes us keep.

// aliasWorth is the length from which a topic name gets an alias: below it the
// property takes more than the name.
const aliasWorth = 8

// aliasOut is what the client has been told: the name of alias i+1. The place of
// a name follows from its hash, so that finding it takes no search and a stranger
// only replaces what stood there.
type aliasOut [][]byte

// told is what the client has been told.
func (s *Session) told() aliasOut {
	if s.odd == nil {
		return nil
	}
	return s.odd.aliases
}

func (a aliasOut) slot(name []byte) int {
	h := uint32(2166136261) // FNV-1a
	for _, b := range name {
		h = (h ^ uint32(b)) * 16777619
	}
	return int(h % uint32(len(a)))
}

// alias names o's topic by an alias within the client's Topic Alias Maximum
// [MQTT-3.1.2-26] [MQTT-3.3.2-11], and never by one it was not told on this
// connection. What is queued on a connection leaves in that order, so the packet
// that tells comes first.
func (s *Session) alias(now time.Time, o *Out) {
	if s.conn.aliasMax == 0 { // [MQTT-3.1.2-27]
		return
	}
	name := o.Frame.Topic()
	if len(name)-int(o.Skip) < aliasWorth {
		return
	}
	a := s.told()
	if a == nil {
		a = make(aliasOut, s.conn.aliasMax)
		s.strange().aliases = a
	}
	i := a.slot(name)
	if bytes.Equal(a[i], name) {
		o.Alias = uint16(i) + 1
		o.Flags |= FlagAliasOnly
		return
	}
	more := int64(len(name) - len(a[i]))
	if !s.lim.Account.room(more) {
		return
	}
	o.Alias = uint16(i) + 1
	if s.tooLarge(now, o) { // by the property alone [MQTT-3.1.2-24]
		o.Alias = 0
		return
	}
	s.lim.Account.add(more)
	a[i] = append(a[i][:0], name...)
}

// learn remembers an alias the client set.
func (s *Session) learn(alias uint16, name []byte) error {
	more := int64(len(name) - len(s.got().aliases[alias]))
	if !s.lim.Account.roomIn(more) {
		return &mqtt.Error{Reason: mqtt.QuotaExceeded, Detail: "limits.mqueue_bytes_total leaves no room for a topic alias"}
	}
	in := s.receiving()
	if in.aliases == nil {
		in.aliases = make(map[uint16][]byte)
	}
	s.lim.Account.add(more)
	if old := in.aliases[alias]; cap(old) >= len(name) && cap(old) <= 2*len(name) { // bound again and again: no garbage for each
		in.aliases[alias] = append(old[:0], name...)
	} else {
		in.aliases[alias] = bytes.Clone(name)
	}
	return nil
}

// forgetAliases ends all aliases with their connection.
func (s *Session) forgetAliases() {
	for _, name := range s.got().aliases {
		s.lim.Account.add(-int64(len(name)))
	}
	for _, name := range s.told() {
		s.lim.Account.add(-int64(len(name)))
	}
	if s.odd != nil {
		s.odd.aliases = nil
	}
	if s.in != nil {
		s.in.aliases = nil
		s.forgetReceived()
	}
}
