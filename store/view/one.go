package view

import (
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// Session answers one session as its rows are now, or nil if there is none. Whoever needs
// it as of a record waits for that first (Wait).
func (v *View) Session(sid store.SID) (*Session, error) {
	var s *Session
	var c fact.Claim
	err := v.table(appendSessionKey(nil, &sid, partGuard), appendSessionKey(nil, &sid, partOwed+1), func(key, value []byte) error {
		_, part, rest, err := splitSessionKey(key)
		if err != nil {
			return err
		}
		if s == nil {
			s = &Session{SID: sid}
		}
		return s.row(part, rest, value, &c)
	})
	if err == nil && s != nil {
		v.groups.begin(s)
	}
	return s, err
}
