package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/listener"
)

// doors are the listeners that are open, by name. The list is replaced as a whole: whoever
// has it may go through it.
func (n *node) doors() []*door {
	if list := n.entrances.Load(); list != nil {
		return *list
	}
	return nil
}

func (n *node) setDoors(list []*door) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b *door) int { return strings.Compare(a.Name, b.Name) })
	n.entrances.Store(&list)
}

// stays tells whether a listener is there in c, too.
func stays(l *door, c *config.Config) bool { return len(c.Listeners[l.Name].Bind) > 0 }

// addresses are what a listener listens on: those that are written, and those that its
// interfaces have now. One that is not there is an error, or has none.
func (n *node) addresses(name string, c config.Listener, wanted bool) (fixed, ofInterfaces []string, err error) {
	for _, text := range c.Bind {
		b, err := config.ParseBind(text)
		if err != nil || b.Interface == "" {
			fixed = append(fixed, text)
			continue
		}
		found, err := n.ofInterface(b.Interface, b.Port)
		if err != nil && wanted {
			return nil, nil, fmt.Errorf("listeners.%s.bind: %q: %w", name, text, err)
		}
		ofInterfaces = append(ofInterfaces, found...)
	}
	return fixed, ofInterfaces, nil
}

// move opens the sockets of c that l does not have. wanted is whether its interfaces have to
// be there.
func (n *node) move(l *door, c config.Listener, wanted bool) (*listener.Move, error) {
	fixed, ofInterfaces, err := n.addresses(l.Name, c, wanted)
	if err != nil {
		return nil, err
	}
	m, err := l.Move(fixed, ofInterfaces...)
	if err != nil {
		return nil, err
	}
	for _, a := range m.Absent {
		n.audit.Event(n.clock.Now(), slog.LevelWarn, "an address of an interface cannot be listened on yet, and is tried again", l.Name+" "+a,
			slog.String("listener", l.Name), slog.String("address", a))
	}
	return m, nil
}

// sayBound says what there is to say of new sockets.
func (n *node) sayBound(l *door) {
	if short := l.ShortBacklog(); short != "" {
		n.log.Warn("the listen backlog is short", "listener", l.Name, "why", short)
	}
	if short := l.ShortBuffer(); short != "" {
		n.log.Warn("the receive buffer is short", "listener", l.Name, "why", short)
	}
	if len(l.Addresses()) == 0 {
		n.log.Warn("a listener has no address: its interfaces have none. It listens when they get one", "listener", l.Name)
	}
}

// moving is a change of listeners by a reload: prepared, and then put in force or undone.
type moving struct {
	n       *node
	added   []*door
	removed []*door
	changes map[*door]*rebind // of those that stay, and of added
}

// rebind is a change of the addresses of a listener, of which nothing can fail any more.
type rebind struct {
	*listener.Move
	opening *conn.Opening // of those that are new
}

// rebind opens the sockets of c that l does not have, and has the loops ready for them.
func (n *node) rebind(l *door, c config.Listener, wanted bool) (*rebind, error) {
	m, err := n.move(l, c, wanted)
	if err != nil {
		return nil, err
	}
	o, err := n.server.Ready(l.Listener, m.Opened)
	if err != nil {
		m.Undo()
		return nil, err
	}
	return &rebind{m, o}, nil
}

// undo takes it back.
func (c *rebind) undo() {
	c.opening.Undo()
	c.Undo()
}

// commit lets clients in at what is new, and not at what is old.
func (c *rebind) commit() {
	c.Commit()
	c.opening.Open()
}

// prepareMoving opens every socket that c has and the node has not. After an error nothing
// has changed.
func (n *node) prepareMoving(c *config.Config) (m *moving, err error) {
	m = &moving{n: n, changes: make(map[*door]*rebind)}
	defer func() {
		if err != nil {
			m.undo()
		}
	}()
	there := make(map[string]*door)
	for _, l := range n.doors() {
		there[l.Name] = l
		if !stays(l, c) {
			m.removed = append(m.removed, l)
		}
	}
	for _, name := range sortedKeys(c.Listeners) {
		ln := c.Listeners[name]
		l := there[name]
		switch {
		case len(ln.Bind) == 0:
			continue
		case l == nil && len(ln.TLS.ACME.Names) > 0:
			return m, fmt.Errorf("listeners.%s.tls.acme: a listener that gets its certificates by ACME needs a start. Nothing has been reloaded", name)
		case l == nil:
			if l, err = n.makeDoor(name, c, stapleSwap); err != nil {
				return m, err
			}
			m.added = append(m.added, l)
		case l.halted.Load() != nil: // and stays so
			continue
		}
		if m.changes[l], err = n.rebind(l, ln, true); err != nil {
			return m, fmt.Errorf("%w. Nothing has been reloaded", err)
		}
	}
	return m, nil
}

// undo closes what was opened. A nil moving has opened nothing.
func (m *moving) undo() {
	if m == nil {
		return
	}
	for _, c := range m.changes {
		if c != nil {
			c.undo()
		}
	}
}

// leave closes the listeners that are gone, and what others do not listen on any more.
func (m *moving) leave() {
	n := m.n
	for _, l := range m.removed {
		n.server.Unserve(l.Bound())
		l.Close()
		n.server.Dismiss(l.Listener)
		if l.untend != nil {
			l.untend()
		}
		for _, kind := range []*alarm.Kind{alarm.CertificateDiffers, alarm.CertificateExpiry, alarm.CertificateFilesRefused, alarm.CRLUnavailable, alarm.CRLForged, alarm.CRLStale, alarm.OCSPUnavailable, alarm.OCSPForged} {
			n.alarms.Clear(n.clock.Now(), kind, l.Name)
		}
		n.log.Info("a listener was removed", "listener", l.Name, "connections", l.Open.Load())
	}
	n.setDoors(slices.DeleteFunc(slices.Clone(n.doors()), func(l *door) bool { return slices.Contains(m.removed, l) }))
}

// enter lets clients in at what is new.
func (m *moving) enter() {
	n := m.n
	for _, l := range m.added {
		m.changes[l].commit()
		n.setDoors(append(slices.Clone(n.doors()), l))
		n.tend(l)
		n.sayBound(l)
		n.log.Info("a listener was added", "listener", l.Name, "addresses", l.Addresses())
	}
	for _, l := range n.doors() {
		if c := m.changes[l]; c != nil && !slices.Contains(m.added, l) {
			n.take(l, c)
		}
	}
}

// take puts a change of the addresses of a listener in force. Its clients stay.
func (n *node) take(l *door, c *rebind) {
	if !c.Changes() {
		return
	}
	before := l.Addresses()
	n.server.Unserve(c.Closed)
	c.commit()
	n.sayBound(l)
	n.log.Info("a listener has other addresses", "listener", l.Name, "before", before, "now", l.Addresses())
}

// followInterfaces has listeners on interfaces listen where those have their addresses now.
func (n *node) followInterfaces(ctx context.Context) {
	for _, l := range n.doors() {
		ln := n.loaded.Load().Config.Listeners[l.Name]
		if l.halted.Load() != nil || !slices.ContainsFunc(ln.Bind, func(text string) bool { b, err := config.ParseBind(text); return err == nil && b.Interface != "" }) {
			continue
		}
		if err := n.follow(ctx, l); err != nil && ctx.Err() == nil {
			n.audit.Event(n.clock.Now(), slog.LevelWarn, "a listener cannot follow its interface, and goes on with what it has", l.Name,
				slog.String("listener", l.Name), slog.String("error", err.Error()))
		}
	}
}

func (n *node) follow(ctx context.Context, l *door) error {
	done, err := n.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	ln := n.loaded.Load().Config.Listeners[l.Name]
	switch {
	case !slices.Contains(n.doors(), l):
		return errors.New("it was removed")
	case l.halted.Load() != nil:
		return nil
	}
	c, err := n.rebind(l, ln, false)
	if err != nil {
		return err
	}
	n.take(l, c)
	return nil
}
