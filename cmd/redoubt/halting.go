package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
)

// halt is that an operator has stopped a listener. It lasts until it is started, or the
// process is, or a reload removes the listener.
type halt struct {
	since time.Time
	by    string
}

var _ admin.Listeners = (*node)(nil)

// StopListener implements admin.Listeners.
func (n *node) StopListener(ctx context.Context, id string, o admin.StopOptions) (admin.ListenerChange, error) {
	c, ending, err := n.stop(ctx, id, o)
	if err == nil && ending != nil {
		wait(ctx, ending) // in our own time: nobody else has to
	}
	return c, err
}

// stop answers a channel that is closed when the clients are gone; nil: they stay.
func (n *node) stop(ctx context.Context, id string, o admin.StopOptions) (c admin.ListenerChange, ending <-chan struct{}, err error) {
	done, err := n.takeOpenTurn(ctx)
	if err != nil {
		return c, nil, err
	}
	defer done()
	l, err := n.entrance(id)
	if err != nil {
		return c, nil, err
	}
	if h := l.halted.Load(); h != nil {
		c.Note = fmt.Sprintf("it was stopped already, at %s by %s", h.since.UTC().Format(time.RFC3339), h.by)
		if !o.Disconnect {
			c.Listener = n.listenerInfo(l)
			return c, nil, nil
		}
	}
	o.Before(n.listenerInfo(l))
	c.Changed = n.halt(l, o.By)
	if o.Disconnect {
		c.Disconnected, ending = n.dismissAll(l)
	}
	c.Listener = n.listenerInfo(l)
	if !slices.ContainsFunc(n.doors(), func(o *door) bool { return o.halted.Load() == nil }) {
		c.Note = strings.TrimPrefix(c.Note+"; ", "; ") + "no listener is running now: nobody can connect until one is started"
	}
	return c, ending, nil
}

// halt closes the sockets of a listener, unless that has been done. When it returns nobody
// listens there any more, and who has come in stays.
func (n *node) halt(l *door, by string) (changed bool) {
	if l.halted.Load() != nil {
		return false
	}
	l.halted.Store(&halt{n.clock.Now(), by})
	m, _ := l.Move(nil) // there is nothing to open
	n.server.Unserve(m.Closed)
	before := l.Addresses()
	m.Commit()
	n.server.Each(func(time.Time, *broker.Home) {}) // each loop has a descriptor of its own and lets go of it
	n.log.Info("a listener was stopped: nobody can connect there", "listener", l.Name, "before", before, "connections", l.Open.Load())
	return true
}

// dismissAll ends the connections of a listener that is stopped, also those that had only
// begun.
func (n *node) dismissAll(l *door) (connections int64, ending <-chan struct{}) {
	l.Gone.Store(true)
	connections = l.Open.Load()
	l.ending = n.server.Empty(l.Listener)
	n.log.Info("the clients of a listener are disconnected", "listener", l.Name, "connections", connections)
	return connections, l.ending
}

// takeOpenTurn is takeTurn of a broker that serves clients: before, who comes would find
// sessions that have not been read yet.
func (n *node) takeOpenTurn(ctx context.Context) (done func(), err error) {
	if done, err = n.takeTurn(ctx); err == nil && !n.ready.Load() {
		done()
		return nil, errors.New("the broker does not serve clients yet, or no longer. Try again")
	}
	return done, err
}

// wait is false if it took longer than ctx.
func wait(ctx context.Context, ending <-chan struct{}) bool {
	select {
	case <-ending:
		return true
	case <-ctx.Done():
		return false
	}
}

// StartListener implements admin.Listeners.
func (n *node) StartListener(ctx context.Context, id string, o admin.StartOptions) (admin.ListenerChange, error) {
	done, err := n.takeOpenTurn(ctx)
	if err != nil {
		return admin.ListenerChange{}, err
	}
	defer done()
	l, err := n.entrance(id)
	if err != nil {
		return admin.ListenerChange{}, err
	}
	if l.halted.Load() == nil {
		c := admin.ListenerChange{Listener: n.listenerInfo(l), Note: "it was not stopped"}
		if c.Listener.State == admin.ListenerWaiting {
			c.Note += ", and waits for its interfaces to have an address"
		}
		return c, nil
	}
	return n.start(ctx, l, o)
}

// start opens the sockets of a listener that is stopped, all of them or none, as the
// configuration has them now.
func (n *node) start(ctx context.Context, l *door, o admin.StartOptions) (c admin.ListenerChange, err error) {
	if l.ending != nil && !wait(ctx, l.ending) { // whoever comes in now must not be taken for one of those
		return c, fmt.Errorf("listeners.%s: its clients are still being disconnected. Try again", l.Name)
	}
	r, err := n.rebind(l, n.loaded.Load().Config.Listeners[l.Name], true)
	if err != nil {
		return c, &admin.ListenerError{Err: n.explainTaken(l, err)}
	}
	o.Before(n.listenerInfo(l))
	l.ending = nil
	l.Gone.Store(false)
	l.halted.Store(nil)
	r.commit()
	n.sayBound(l)
	n.log.Info("a listener was started", "listener", l.Name, "addresses", l.Addresses())
	return admin.ListenerChange{Listener: n.listenerInfo(l), Changed: true}, nil
}

// explainTaken says who may have an address that is in use.
func (n *node) explainTaken(l *door, err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w. It is stopped", err)
	}
	for _, o := range n.doors() {
		for _, a := range append(o.Addresses(), o.Draining()...) {
			if o != l && strings.Contains(err.Error(), " "+a+":") {
				return fmt.Errorf("%w: listeners.%s has it. It is stopped", err, o.Name)
			}
		}
	}
	return fmt.Errorf("%w: another process may have it (ss -lntup says which). It is stopped", err)
}

// RestartListener implements admin.Listeners.
func (n *node) RestartListener(ctx context.Context, id string, o admin.StopOptions) (c admin.ListenerChange, err error) {
	done, err := n.takeOpenTurn(ctx)
	if err != nil {
		return c, err
	}
	defer done()
	l, err := n.entrance(id)
	if err != nil {
		return c, err
	}
	o.Before(n.listenerInfo(l))
	n.halt(l, o.By)
	var ended int64
	if o.Disconnect {
		ended, _ = n.dismissAll(l)
	}
	c, err = n.start(ctx, l, admin.StartOptions{Before: func(admin.ListenerInfo) {}})
	c.Disconnected = ended
	return c, err
}

// stillHalted says of listeners that are stopped that a change of theirs is not in force.
func (n *node) stillHalted(from, to *config.Config) (lines []string) {
	for _, l := range n.doors() {
		if l.halted.Load() == nil || !stays(l, to) {
			continue
		}
		if !slices.Equal(from.Listeners[l.Name].Bind, to.Listeners[l.Name].Bind) {
			lines = append(lines, fmt.Sprintf("listeners.%s is stopped, and listens there when it is started (redoubt listeners start %s)", l.Name, l.Name))
		}
	}
	return lines
}

// entrance finds a listener by its id, type:name, or by its name alone. ssl and tcp are what
// EMQX calls mqtts and mqtt.
func (n *node) entrance(id string) (*door, error) {
	kind, name, typed := strings.Cut(id, ":")
	if !typed {
		kind, name = "", id
	}
	if as, ok := map[string]string{"ssl": config.ProtocolMQTTS, "tcp": config.ProtocolMQTT}[kind]; ok {
		kind = as
	}
	var there []string
	for _, l := range n.doors() {
		if l.Name == name && (!typed || kind == l.Protocol) {
			return l, nil
		}
		there = append(there, l.Protocol+":"+l.Name)
	}
	if c, known := n.loaded.Load().Config.Listeners[name]; known && len(c.Bind) == 0 {
		return nil, &admin.ListenerError{Err: fmt.Errorf("listeners.%s.bind is empty: it listens nowhere. Give it an address in the configuration, and reload", name), Unknown: true}
	}
	return nil, &admin.ListenerError{Err: fmt.Errorf("there is no listener %q; there is %s", id, strings.Join(there, ", ")), Unknown: true}
}
