package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// scrapesMax bounds scrapes served at once; more get 503. Monitoring needs one,
	// a pair of them two.
	scrapesMax = 4
	// scrapeTimeout bounds one scrape; adding up shards takes microseconds, the
	// process collector reads /proc.
	scrapeTimeout = 5 * time.Second
)

// descs are the Prometheus descriptions in catalogue order, made once.
var descs = sync.OnceValue(func() []*prometheus.Desc {
	ds := make([]*prometheus.Desc, len(catalogue))
	for i, s := range catalogue {
		var labels prometheus.Labels
		if s.label != "" {
			labels = prometheus.Labels{s.label: s.value}
		}
		ds[i] = prometheus.NewDesc(s.name, s.help, nil, labels)
	}
	return ds
})

// vectorDescs are those of vectors.
var vectorDescs = sync.OnceValue(func() []*prometheus.Desc {
	ds := make([]*prometheus.Desc, len(vectors))
	for i, v := range vectors {
		ds[i] = prometheus.NewDesc(v.name, v.help, v.labels, nil)
	}
	return ds
})

const (
	buildInfoName = "redoubt_build_info"
	buildInfoHelp = "Always 1; the labels say which build runs."
)

// collector shows a Registry to client_golang.
type collector struct{ r *Registry }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs() {
		ch <- d
	}
	for _, d := range vectorDescs() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for i, d := range descs() {
		t := prometheus.CounterValue
		if catalogue[i].kind == gauge {
			t = prometheus.GaugeValue
		}
		value := float64(c.r.Value(ID(i)))
		if catalogue[i].micros {
			value /= 1e6
		}
		ch <- prometheus.MustNewConstMetric(d, t, value)
	}
	c.r.collectVectors(ch)
}

// Handler serves the registry, the Go runtime and the process in the Prometheus
// text format. It asks no credential: whoever mounts it decides who may come.
func (r *Registry) Handler() http.Handler {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collector{r}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.mu.RLock()
	build := r.build
	r.mu.RUnlock()
	if build != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: buildInfoName, Help: buildInfoHelp, ConstLabels: build},
			func() float64 { return 1 }))
	}
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.HTTPErrorOnError,
		DisableCompression:  true, // the reader is on this machine
		MaxRequestsInFlight: scrapesMax,
		Timeout:             scrapeTimeout,
	})
}
