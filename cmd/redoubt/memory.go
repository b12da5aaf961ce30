package main

import (
	"context"
	"os"
	"runtime/debug"
	"sync/atomic"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/cores"
	"github.com/redoubtmq/redoubt/internal/memory"
	"github.com/redoubtmq/redoubt/metrics"
)

// means is what the system gives the process, with the sums that the start
// prints.
type means struct {
	files       string // how many connections the open file limit allows
	memory      atomic.Pointer[memory.Budget]
	environment int64        // GOMEMLIMIT; memory.Unlimited without
	floor       memory.Floor // once clients are let in
	flood       flood        // of strangers, as the floor sees it

	overseer   overseer
	surveys    surveys
	soon       chan struct{}  // holds one when the overseer is to look at once
	collectNow chan os.Signal // holds one when memory is to be given back at once

	manager manager // of services, who started the process

	hardening *harden.Background // nil before assemble
	opened    chan struct{}      // closed when clients are let in
}

// bindMemory puts the memory limit in force, or says why the broker must not
// start.
func (n *node) bindMemory(c *config.Config) error {
	n.environment = debug.SetMemoryLimit(-1) // what the runtime has read
	budget, err := n.budget(c)
	if err != nil {
		return err
	}
	n.limitMemory(budget)
	if queues := int64(c.Limits.MqueueBytesTotal) + retainedMemory(c, budget); queues > budget.Bytes {
		n.log.Warn("limits.mqueue_bytes_total and limits.retained_memory together pass the memory limit: full queues would end the process; lower them",
			"together", memory.Text(queues), "memory", budget.Sum)
	}
	collectSeldom()
	n.metrics.Gauge(metrics.MemoryLimit, func() int64 {
		if limit := debug.SetMemoryLimit(-1); limit != memory.Unlimited {
			return limit
		}
		return 0
	})
	n.metrics.Gauge(metrics.MemoryInUse, func() int64 { return int64(memory.Measure().Resident) })
	n.metrics.Gauge(metrics.MemoryLive, func() int64 { return int64(memory.Measure().Live) })
	return nil
}

// startingGCPercent is in force until clients are let in. What a start makes stays, nearly all
// of it: to look through it again at each doubling finds little, and takes a tenth of the
// time. The memory limit holds meanwhile.
const startingGCPercent = 400

func collectSeldom() { setGCPercent(startingGCPercent) }

// collectAsUsual ends that.
func (n *node) collectAsUsual() {
	n.floor.Set = setGCPercent
	n.floor.Storm = n.flooded
	n.floor.Keep()
}

func setGCPercent(percent int) {
	if os.Getenv("GOGC") == "" { // whoever sets it knows why
		debug.SetGCPercent(percent)
	}
}

// budget is the memory limit that c asks for, with what the system gives now.
func (n *node) budget(c *config.Config) (memory.Budget, error) {
	have := memory.Read(os.DirFS("/"))
	for _, why := range have.Unread {
		n.log.Warn("a memory limit of the system could not be read; if it is smaller than limits.memory, the process may be killed", "limit", why)
	}
	return memory.Plan(int64(c.Limits.Memory), have, n.environment)
}

// limitMemory puts a budget in force.
func (n *node) limitMemory(b memory.Budget) {
	n.memory.Store(&b)
	debug.SetMemoryLimit(b.Bytes)
	n.floor.Bound(b.Bytes)
}

// hashBytes is what argon2id takes for one password.
const hashBytes = 19 << 20

// hashers is how many passwords are hashed at the same time: half the
// processors, at most 8, and never more than a quarter of the memory, because
// strangers ask for it.
func hashers(b memory.Budget) int {
	return int(min(int64(max(cores.Count()/2, 1)), 8, max(b.Bytes/4/hashBytes, 1)))
}

// keepMemory gives memory back after storms, and when SIGUSR1 asks for it, until ctx is done.
func (n *node) keepMemory(ctx context.Context) {
	k := memory.Keeper{
		Now: n.clock.Now, Log: n.log, Asked: n.collectNow,
		Clients: func() int64 { return n.metrics.Value(metrics.Connections) },
		Collected: func(returned int64) {
			n.count.Inc(metrics.MemoryCollections)
			n.count.Add(metrics.MemoryReturned, returned)
		},
	}
	k.Run(ctx)
	n.floor.Leave()
}
