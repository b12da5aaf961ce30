package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Vector names a gauge, or a counter, with one series for each thing that the configuration
// names, such as the certificates of each listener. Nobody who connects can add one.
type Vector int

type vector struct {
	name, help string
	kind       kind
	labels     []string
	micros     bool // it is of seconds, and kept in microseconds
}

// vectors holds them all, indexed by Vector; like catalogue.
var vectors []vector

// vectorSeriesMax bounds the series of one vector that are shown, should somebody configure
// more: a page of metrics is read every few seconds.
const vectorSeriesMax = 1024

// levels adds a gauge with these labels.
func levels(name, help string, labels ...string) Vector {
	vectors = append(vectors, vector{name: name, help: help, kind: gauge, labels: labels})
	return Vector(len(vectors) - 1)
}

// shorts adds a gauge of seconds with these labels, which is kept in microseconds.
func shorts(name, help string, labels ...string) Vector {
	v := levels(name, help, labels...)
	vectors[v].micros = true
	return v
}

// counts adds a counter with these labels. A series begins again at 0 with the thing it is of.
func counts(name, help string, labels ...string) Vector {
	vectors = append(vectors, vector{name: name, help: help, kind: counter, labels: labels})
	return Vector(len(vectors) - 1)
}

// GaugeVector lets fn give the series of v when metrics are read: it calls set for each, with
// a value for each label. fn is called as that of Gauge is. Of two series with the same
// labels the first is shown, and none beyond 1,024.
func (r *Registry) GaugeVector(v Vector, fn func(set func(value int64, labels ...string))) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.vectors[v] = fn
}

// collectVectors shows them to client_golang.
func (r *Registry) collectVectors(ch chan<- prometheus.Metric) {
	for i, d := range vectorDescs() {
		r.mu.RLock()
		fn := r.vectors[Vector(i)]
		r.mu.RUnlock()
		if fn == nil {
			continue
		}
		seen := make(map[string]bool)
		fn(func(value int64, labels ...string) {
			key := strings.Join(labels, "\x00")
			if seen[key] || len(seen) == vectorSeriesMax {
				return
			}
			seen[key] = true
			t := prometheus.GaugeValue
			if vectors[i].kind == counter {
				t = prometheus.CounterValue
			}
			shown := float64(value)
			if vectors[i].micros {
				shown /= 1e6
			}
			ch <- prometheus.MustNewConstMetric(d, t, shown, labels...)
		})
	}
}
