package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// keepWithin is how long a change of users may take to be durable and applied. A
// healthy disk takes milliseconds; somebody waits at a terminal.
const keepWithin = 10 * time.Second

// userRecords keeps the users as records of the log. It implements builtin.Keeper.
type userRecords struct {
	log     store.Log
	view    *view.View
	within  time.Duration
	applied func(context.Context, store.Seq) error // waits until a record was applied
}

var _ builtin.Keeper = (*userRecords)(nil)

// Users implements builtin.Keeper.
func (k *userRecords) Users(fn func(name string, content []byte) error) error {
	return k.view.Values(store.User, fn)
}

// Put implements builtin.Keeper.
func (k *userRecords) Put(users ...builtin.Kept) error {
	for step := range slices.Chunk(users, builtin.PutMax) {
		values := make([]fact.Value, 0, len(step))
		for _, u := range step {
			values = append(values, fact.Value{Name: u.Name, Content: u.Content})
		}
		if err := k.write(values...); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements builtin.Keeper.
func (k *userRecords) Delete(name string) error {
	return k.write(fact.Value{Name: name, Gone: true})
}

func (k *userRecords) write(values ...fact.Value) error {
	return keep(k.log, k.applied, k.within, store.User, values...)
}

// keep submits one batch of values of a kind and waits until it is durable and applied.
// The records have no time: with one they would say that a node ran then, and a command
// writes them, too.
func keep(log store.Log, applied func(context.Context, store.Seq) error, within time.Duration, kind store.Kind, values ...fact.Value) error {
	recs := make([]store.Record, 0, len(values))
	for i := range values {
		recs = append(recs, store.Record{Kind: kind, Body: values[i].Append(nil)})
	}
	type outcome struct {
		first store.Seq
		err   error
	}
	told := make(chan outcome, 1)
	if !log.Submit(0, recs, func(first store.Seq, err error) { told <- outcome{first, err} }) {
		return errors.New("the log takes nothing now: too much waits to be written, or the broker is about to end. Try again")
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	select {
	case out := <-told:
		if out.err != nil {
			return inWords(out.err)
		}
		last := out.first + store.Seq(len(recs)) - 1
		if err := applied(ctx, last); err != nil {
			return fmt.Errorf("it is written and does not count yet: the index of the store has not followed within %v (%w). It may count after the next start; try again", within, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the disk has not written it within %v. It may count after the next start; try again", within)
	}
}

// inWords is why the log did not take something, and what helps.
func inWords(err error) error {
	switch {
	case errors.Is(err, store.ErrFull):
		return fmt.Errorf("%w. Make room on the disk of the data directory, and try again", err)
	case errors.Is(err, store.ErrFailed):
		return fmt.Errorf("%w. Look at the disk, and start the broker again", err)
	}
	return fmt.Errorf("it could not be written to the log: %w", err)
}

// openUsers opens the users, after those of a users file were taken over. From then on
// changes wait with applied.
func (n *node) openUsers(c *config.Config, applied func(context.Context, store.Seq) error) error {
	d := n.durable
	k := &userRecords{log: d.log, view: d.view, within: keepWithin, applied: d.view.CatchUp}
	users, migrated, err := builtin.Migrate(c.Node.DataDir, k)
	if err != nil {
		return err
	}
	if migrated {
		n.log.Info("the users of the users file are in the log now; nobody reads the file any more, and it can be deleted",
			"users", users, "file", filepath.Join(c.Node.DataDir, builtin.MigratedName))
	}
	if n.users, err = builtin.Open(k, n.clock); err != nil {
		return err
	}
	n.users.SetSCRAM(scramSettings(c))
	if scramUsed(c) { // now, because nobody applies records while a node starts
		if _, err := n.users.SCRAMSecret(); err != nil {
			return err
		}
	}
	k.applied = applied
	return nil
}

// offlineUsers opens the users of a data directory that no broker uses, and keeps
// brokers out until release is called. What a start would say of the store goes to out.
func offlineUsers(c *config.Config, out io.Writer) (users admin.Users, release func(), err error) {
	unlock, err := datadir.Lock(c.Node.DataDir)
	if err != nil {
		return nil, nil, err
	}
	mask := syscall.Umask(0o077) // as serve does
	n := &node{clock: clock.System{}, log: slog.New(slog.NewTextHandler(out, nil)), metrics: metrics.New()}
	n.commits = n.metrics.NewShard()
	if err = n.openStore(c, false); err == nil {
		err = n.openUsers(c, n.durable.view.CatchUp)
	}
	release = func() {
		n.closeStore()
		syscall.Umask(mask)
		unlock()
	}
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("open the users: %w", err)
	}
	return admin.BuiltinUsers(n.users), release, nil
}
