package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/internal/memory"
	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/metrics"
)

// surveys are what was last seen of who keeps memory.
type surveys struct {
	last atomic.Pointer[conn.Survey] // nil: nobody has looked

	mu sync.Mutex // guards everything below; held while somebody looks
	at time.Time
}

// A survey goes over all sessions, a third of a microsecond each. It is made for the
// metrics twice a minute, and for whoever asks, if the last one is older than a moment.
const (
	surveyEvery  = 30 * time.Second
	surveyFresh  = 2 * time.Second
	surveyWithin = 2 * time.Second
)

// survey looks, unless somebody has within so long, and answers what was seen last.
func (n *node) survey(ctx context.Context, fresh time.Duration) *conn.Survey {
	s := &n.surveys
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := n.clock.Now(); s.at.IsZero() || now.Sub(s.at) >= fresh {
		ctx, cancel := context.WithTimeout(ctx, surveyWithin)
		defer cancel()
		if found, err := n.server.Survey(ctx); err == nil {
			s.at = now
			s.last.Store(found)
		}
	}
	return n.lastSurvey()
}

func (n *node) lastSurvey() *conn.Survey {
	if s := n.surveys.last.Load(); s != nil {
		return s
	}
	return &conn.Survey{}
}

// memoryRoom is a part of the broker that keeps memory. What is in none of them is mostly
// garbage, and what the runtime has put by for the next allocations.
type memoryRoom struct {
	name  string
	bytes func(n *node) int64
}

// memoryRooms are in the order of their series.
var memoryRooms = []memoryRoom{
	{"connections", func(n *node) int64 { return n.lastSurvey().Connections }},
	{"sessions", func(n *node) int64 { return n.lastSurvey().Sessions }},
	{"router", func(n *node) int64 { return n.lastSurvey().Router }},
	{"retained", func(n *node) int64 { _, bytes, _ := n.retained.InMemory(); return bytes }},
	{"delayed", func(n *node) int64 { _, bytes := n.delayed.Held(); return bytes }},
	{"store", func(n *node) int64 { return n.durable.log.Held() + n.durable.view.Held() }},
	{"runtime", func(*node) int64 { return int64(memory.Measure().Other) }}, //nolint:gosec // of a memory
}

// reportRooms adds them to the metrics.
func (n *node) reportRooms() {
	for i := range memoryRooms {
		n.metrics.Gauge(metrics.MemoryRooms.At(i), func() int64 { return memoryRooms[i].bytes(n) })
	}
}

// memoryStatus is what status shows.
func (n *node) memoryStatus() admin.MemoryStatus {
	survey := n.survey(context.Background(), surveyFresh)
	seen := &n.overseer.seen
	m := admin.MemoryStatus{
		Level: load.Level(seen.level.Load()).String(), //nolint:gosec // a level
		Limit: int64(n.memoryLimit()), Sure: n.sure(), //nolint:gosec // of a memory
	}
	for i := range memoryRooms {
		m.Rooms = append(m.Rooms, admin.MemoryRoom{Name: memoryRooms[i].name, Bytes: memoryRooms[i].bytes(n)})
	}
	for _, name := range sortedKeys(survey.Listeners) {
		m.Listeners = append(m.Listeners, admin.MemoryRoom{Name: name, Bytes: survey.Listeners[name]})
	}
	return m
}

// sure is what is surely in use now.
func (n *node) sure() int64 {
	u := memory.Measure()
	return int64(u.Live + u.Other) //nolint:gosec // of a memory
}

// printMemoryStatus says it in lines, the largest first.
func printMemoryStatus(w io.Writer, m *admin.MemoryStatus) {
	limit := "no limit"
	if m.Limit > 0 {
		limit = fmt.Sprintf("%d %% of %s", 100*m.Sure/m.Limit, memory.Text(m.Limit))
	}
	level := ""
	if m.Level != load.Fine.String() && m.Level != load.Warm.String() {
		level = ", shedding: " + m.Level
	}
	fmt.Fprintf(w, "memory\t%s in use (%s)%s\n", memory.Text(m.Sure), limit, level)
	for _, of := range []struct {
		what string
		list []admin.MemoryRoom
	}{{"by part", m.Rooms}, {"by listener", m.Listeners}} {
		list := slices.Clone(of.list)
		slices.SortStableFunc(list, func(a, b admin.MemoryRoom) int { return int(min(1, max(-1, b.Bytes-a.Bytes))) })
		var words []string
		for _, r := range list {
			words = append(words, r.Name+" "+memory.Text(r.Bytes))
		}
		if len(words) > 0 {
			fmt.Fprintf(w, "\t%s: %s\n", of.what, strings.Join(words, ", "))
		}
	}
}
