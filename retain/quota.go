package retain

import "github.com/redoubtmq/redoubt/mqtt"

// InMemoryBytes is about what so many messages would take in memory whose records have so
// many bytes: how Options.BytesMax counts what is only on disk.
func InMemoryBytes(messages int, bytes int64) int64 { return bytes + int64(messages)*rowBytes }

// Limits are those of the store.
func (s *Store) Limits() Options { return s.opt }

// Grows tells whether the store would hold more messages or bytes with f than without. Of
// a topic that memory does not know it says so.
func (s *Store) Grows(f *mqtt.Frame) bool {
	if len(f.Payload()) == 0 {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, old := s.topics.find(f.Topic(), s.topics.tagOf(f.Topic()))
	return old == nil || sizeOf(f) > sizeOf(old)
}

// Frees tells whether something is retained of a topic, or may be: to remove it makes room.
func (s *Store) Frees(topic []byte) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, old := s.topics.find(topic, s.topics.tagOf(topic)); old != nil || s.complete {
		return old != nil
	}
	_, buried := s.stones[string(topic)]
	return !buried
}
