package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// banRecords keeps bans as records of the log. It implements bans.Keeper.
type banRecords struct {
	log     store.Log
	view    *view.View
	applied func(context.Context, store.Seq) error // waits until a record was applied
}

var (
	_ bans.Keeper = (*banRecords)(nil)
	_ admin.Bans  = (*node)(nil)
)

// Bans implements bans.Keeper.
func (k *banRecords) Bans(fn func(name string, content []byte) error) error {
	return k.view.Values(store.Ban, func(name string, content []byte) error {
		if strings.HasPrefix(name, tokenPrefix) {
			return nil
		}
		return fn(name, content)
	})
}

// Write implements bans.Keeper.
func (k *banRecords) Write(list ...bans.Kept) error {
	for step := range slices.Chunk(list, bans.WriteMax) {
		values := make([]fact.Value, 0, len(step))
		for _, b := range step {
			values = append(values, fact.Value{Name: b.Name, Content: b.Content, Gone: b.Content == nil})
		}
		if err := keep(k.log, k.applied, keepWithin, store.Ban, values...); err != nil {
			return err
		}
	}
	return nil
}

// openBans reads the bans of the log and of the file. Changes wait with applied.
func (n *node) openBans(c *config.Config, applied func(context.Context, store.Seq) error) (err error) {
	filed, err := readBans(c, n.clock.Now())
	if err != nil {
		return err
	}
	if n.bans, err = bans.Open(&banRecords{n.durable.log, n.durable.view, applied}); err != nil {
		return err
	}
	n.bans.SetFile(filed)
	for i := range bans.SourceNames {
		n.metrics.Gauge(metrics.Bans.At(i), func() int64 { return n.bans.Counts()[i] })
	}
	return nil
}

// readBans reads bans.file, if there is one.
func readBans(c *config.Config, now time.Time) ([]*bans.Ban, error) {
	if c.Bans.File == "" {
		return nil, nil
	}
	data, err := safefile.Read(c.Bans.File, bans.FileBytesMax)
	if err != nil {
		return nil, fmt.Errorf("bans.file: %w", err)
	}
	// Which addresses are this machine's depends on the hour, and a start must not: bans of
	// those are taken here.
	list, _, err := bans.Read(c.Bans.File, data, now, "bans.file", false)
	if err != nil {
		return nil, fmt.Errorf("bans.file:\n%w", err)
	}
	return list, nil
}

// readBanFile reads no more than a file of bans may have, and a byte.
func readBanFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, bans.FileBytesMax+1))
}

// enforceBans closes what those have open whom these bans shut out. Who comes in now is
// judged by them already.
func (n *node) enforceBans(set *bans.Set) {
	if set.Len() > 0 {
		n.server.Each(func(now time.Time, h *broker.Home) { h.Banned(now, set) })
	}
}

// EachBan implements admin.Bans.
func (n *node) EachBan(now time.Time, fn func(*bans.Ban, bans.Source)) { n.bans.Each(now, fn) }

// AddBans implements admin.Bans.
func (n *node) AddBans(list []*bans.Ban, before func(replaced []*bans.Ban)) (replaced []*bans.Ban, err error) {
	if replaced, err = n.bans.Add(list, before); err == nil {
		n.enforceBans(bans.SetOf(list))
	}
	return replaced, err
}

// DeleteBan implements admin.Bans.
func (n *node) DeleteBan(now time.Time, w bans.Wanted, before func(*bans.Ban)) (*bans.Ban, error) {
	return n.bans.Delete(now, w, before)
}

// banCounts are how many there are for status; nil: none.
func banCounts(b *bans.Bans) *admin.BanCounts {
	counts := b.Counts()
	if counts == [len(counts)]int64{} {
		return nil
	}
	return &admin.BanCounts{Operator: counts[bans.FromOperator], File: counts[bans.FromFile], Flapping: counts[bans.FromFlapping]}
}

// OwnAddresses implements admin.Bans.
func (n *node) OwnAddresses() []bans.Own { return ownAddresses(n.loaded.Load().Config, localAddrs()) }

// ownAddresses are the addresses of a machine, and where the proxies of its listeners are.
func ownAddresses(c *config.Config, local []netip.Addr) (own []bans.Own) {
	for _, a := range local {
		own = append(own, bans.OwnAddress(a))
	}
	for _, name := range sortedKeys(c.Listeners) {
		l := c.Listeners[name]
		for _, p := range l.ProxyNetworks() {
			own = append(own, bans.OwnProxies(name, p))
		}
	}
	return own
}

const (
	purgeBansEvery = time.Minute
	purgeBansMax   = 10_000 // in one step
)

// keepBans forgets bans that are over, until ctx is done.
func (n *node) keepBans(ctx context.Context) {
	every := time.NewTicker(purgeBansEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		purged, err := n.bans.Purge(n.clock.Now(), purgeBansMax)
		if err != nil {
			n.log.Warn("bans that are over could not be forgotten; they shut out nobody", "error", err.Error())
		} else if purged > 0 {
			n.log.Info("bans are over", "bans", purged)
		}
		n.purgeTokens()
	}
}

// judgeFlapping raises and clears the alarm about clients that connect over and over. Who
// they are is in the list; one that changed with every client would be said every time.
func (n *node) judgeFlapping(now time.Time) {
	if n.bans.Sweep(now) > 0 {
		n.alarms.Raise(now, alarm.Flapping, "", "clients were banned because they connect over and over: redoubt ban list --by flapping")
	} else {
		n.alarms.Clear(now, alarm.Flapping, "")
	}
}
