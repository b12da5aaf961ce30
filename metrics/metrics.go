// Package metrics counts what the broker does. A Shard belongs to one loop and
// is plain atomics, so that counting costs a few nanoseconds and no allocation;
// a Registry adds the shards up when somebody asks. The names are one table
// (catalogue.go). It is not a place for identities: no label ever carries a
// client id, a user name, an address or a topic, because whoever connects could
// then choose how much memory the monitoring needs.
//
// Rules: Prometheus naming (base units, _total on counters), text format 0.0.4.
package metrics

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// cellsPerLine keeps two shards from sharing a cache line: 128 bytes, because
// current processors fetch lines in pairs.
const cellsPerLine = 16

// Shard is one owner's set of counters. All methods are safe for concurrent
// use; giving each loop its own only avoids contention.
type Shard struct {
	cells []atomic.Int64 // one per ID
}

// Add adds n, which may be negative for a gauge. An ID that is not in the
// catalogue is a bug of the caller and panics by index.
func (s *Shard) Add(id ID, n int64) { s.cells[id].Add(n) }

// Inc adds one.
func (s *Shard) Inc(id ID) { s.cells[id].Add(1) }

// Registry adds up its shards and callbacks. Make one per process.
type Registry struct {
	mu      sync.RWMutex // guards everything below
	shards  []*Shard
	gauges  map[ID]func() int64
	vectors map[Vector]func(set func(value int64, labels ...string))
	build   map[string]string // version, revision; nil until SetBuild
}

// New makes a registry without shards.
func New() *Registry {
	return &Registry{gauges: make(map[ID]func() int64), vectors: make(map[Vector]func(func(int64, ...string)))}
}

// NewShard makes a shard and keeps it for good: call it once per loop or
// service, never per connection.
func (r *Registry) NewShard() *Shard {
	block := make([]atomic.Int64, len(catalogue)+2*cellsPerLine)
	s := &Shard{cells: block[cellsPerLine : cellsPerLine+len(catalogue) : cellsPerLine+len(catalogue)]}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shards = append(r.shards, s)
	return s
}

// Gauge lets fn answer for id when metrics are read, on top of what shards hold.
// A second call for one id replaces the first; nil removes it. fn is called from
// HTTP goroutines, possibly several at once, and must neither block nor call
// back into the registry.
func (r *Registry) Gauge(id ID, fn func() int64) {
	if catalogue[id].kind != gauge {
		panic("BUG: metrics: " + catalogue[id].name + " is a counter and cannot be computed by a callback")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if fn == nil {
		delete(r.gauges, id)
		return
	}
	r.gauges[id] = fn
}

// SetBuild names the running program in redoubt_build_info.
func (r *Registry) SetBuild(version, revision string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.build = map[string]string{"version": version, "revision": revision}
}

// Value is the sum over all shards, plus the callback if there is one.
func (r *Registry) Value(id ID) int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var sum int64
	for _, s := range r.shards {
		sum += s.cells[id].Load()
	}
	if fn := r.gauges[id]; fn != nil {
		sum += fn()
	}
	return sum
}

// shardBytes is what one shard holds, for the documentation and its test.
func shardBytes() int {
	return (len(catalogue) + 2*cellsPerLine) * int(unsafe.Sizeof(atomic.Int64{}))
}
