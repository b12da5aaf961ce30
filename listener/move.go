package listener

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
)

// Move is a change of the addresses that a listener listens on: prepared, and then put in
// force or taken back. What is listened on before and after is not touched.
type Move struct {
	l        *Listener
	Opened   []net.Listener // they listen already, and nobody accepts yet
	Closed   []net.Listener // by Commit
	Absent   []string       // addresses that this host does not have, or not yet
	backlogs []int
	bound    []string // of Opened
}

// Move opens the sockets for addresses that l does not listen on yet, all of them or none.
// What it has and they are not is closed by Commit. Addresses given as soft are those of an
// interface, which may come and go: one that the kernel does not let us have yet is left
// out and not an error.
func (l *Listener) Move(addresses []string, soft ...string) (*Move, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &Move{l: l}
	all := slices.Concat(addresses, soft)
	for i, s := range l.Sockets {
		if i >= len(l.bound) || !slices.Contains(all, l.bound[i]) {
			m.Closed = append(m.Closed, s)
		}
	}
	for i, a := range all {
		if slices.Contains(l.bound, a) || slices.Contains(m.bound, a) {
			continue
		}
		s, granted, err := l.listen(a)
		if i >= len(addresses) && errors.Is(err, syscall.EADDRNOTAVAIL) {
			m.Absent = append(m.Absent, a)
			continue
		}
		if err != nil {
			m.Undo()
			return nil, fmt.Errorf("listeners.%s.bind: cannot listen on %s: %w", l.Name, a, err)
		}
		m.Opened, m.backlogs, m.bound = append(m.Opened, s), append(m.backlogs, granted), append(m.bound, a)
	}
	return m, nil
}

// Bound is the sockets that l has now.
func (l *Listener) Bound() []net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.Sockets)
}

// Undo closes what was opened.
func (m *Move) Undo() {
	for _, s := range m.Opened {
		_ = s.Close()
	}
	m.Opened, m.Closed = nil, nil
}

// Changes tells whether anything is different after Commit.
func (m *Move) Changes() bool { return len(m.Opened)+len(m.Closed) > 0 }

// Commit makes the addresses those of the listener and closes the sockets of others. The
// caller has seen to it that nobody accepts there any more.
func (m *Move) Commit() {
	l := m.l
	l.mu.Lock()
	defer l.mu.Unlock()
	var sockets []net.Listener
	var backlogs []int
	var bound []string
	for i, s := range l.Sockets {
		if slices.Contains(m.Closed, s) {
			_ = s.Close()
			if i < len(l.bound) {
				l.drain(l.bound[i], s)
			}
			continue
		}
		sockets, backlogs, bound = append(sockets, s), append(backlogs, l.backlogs[i]), append(bound, l.bound[i])
	}
	l.Sockets, l.backlogs, l.bound = append(sockets, m.Opened...), append(backlogs, m.backlogs...), append(bound, m.bound...)
}
