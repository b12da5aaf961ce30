package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestValueAddsShardsAndCallback(t *testing.T) {
	r := New()
	a, b := r.NewShard(), r.NewShard()
	a.Inc(ConnectionsAccepted)
	b.Add(ConnectionsAccepted, 41)
	if got := r.Value(ConnectionsAccepted); got != 42 {
		t.Errorf("two shards add up to %d, want 42", got)
	}
	a.Add(Sessions, 5)
	b.Add(Sessions, -2)
	r.Gauge(Sessions, func() int64 { return 100 })
	if got := r.Value(Sessions); got != 103 {
		t.Errorf("gauge with callback is %d, want 103", got)
	}
	r.Gauge(Sessions, nil)
	if got := r.Value(Sessions); got != 3 {
		t.Errorf("gauge after its callback left is %d, want 3", got)
	}
	if got := r.Value(BytesSent); got != 0 {
		t.Errorf("an untouched counter is %d", got)
	}
}

func TestEveryCellIsItsOwn(t *testing.T) {
	r := New()
	r.NewShard()
	s := r.NewShard()
	r.NewShard()
	for id := range catalogue {
		s.Add(ID(id), int64(id)+1)
	}
	for id := range catalogue {
		if got := r.Value(ID(id)); got != int64(id)+1 {
			t.Errorf("%s holds %d, want %d: two series share a cell", catalogue[id].name, got, id+1)
		}
	}
}

func TestConcurrentCountersLoseNothing(t *testing.T) {
	r := New()
	shards := []*Shard{r.NewShard(), r.NewShard()}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 1000 {
				shards[i%2].Inc(LoopTurns)
			}
		})
	}
	for range 50 { // readers never disturb writers
		r.Value(LoopTurns)
	}
	wg.Wait()
	if got := r.Value(LoopTurns); got != 8000 {
		t.Errorf("8 × 1000 increments add up to %d", got)
	}
}

func TestCallbackForACounterIsABug(t *testing.T) {
	defer func() {
		if r := recover(); r == nil || !strings.HasPrefix(r.(string), "BUG: ") {
			t.Errorf("recovered %v, want a BUG panic: a callback could make a counter fall", r)
		}
	}()
	New().Gauge(BytesSent, func() int64 { return 1 })
}

func TestRangeCountsStrangersWithTheNearest(t *testing.T) {
	for _, c := range []struct {
		r          Range
		i          int
		name, want string
	}{
		{PacketsReceived, 1, "redoubt_packets_received_total", "connect"},
		{PacketsReceived, 3, "redoubt_packets_received_total", "publish"},
		{PacketsSent, 15, "redoubt_packets_sent_total", "auth"},
		{PacketsSent, 0, "redoubt_packets_sent_total", "connect"},
		{PacketsSent, 255, "redoubt_packets_sent_total", "auth"},
		{MessagesReceived, 0, "redoubt_messages_received_total", "0"},
		{MessagesSent, 2, "redoubt_messages_sent_total", "2"},
		{MessagesSent, 3, "redoubt_messages_sent_total", "2"},
		{MessagesSent, -1, "redoubt_messages_sent_total", "0"},
	} {
		if s := catalogue[c.r.At(c.i)]; s.name != c.name || s.value != c.want {
			t.Errorf("At(%d) is %s{%q}, want %s{%q}", c.i, s.name, s.value, c.name, c.want)
		}
	}
}

func scrape(t *testing.T, r *Registry) string {
	t.Helper()
	rec := httptest.NewRecorder()
	r.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	b, err := io.ReadAll(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHandlerShowsValues(t *testing.T) {
	r := New()
	r.SetBuild("1.2.3", "abcdef")
	s := r.NewShard()
	s.Add(PacketsReceived.At(3), 7)
	s.Add(MessagesDroppedQueueFull, 2)
	r.Gauge(RetainedBytes, func() int64 { return 4096 })
	out := scrape(t, r)
	for _, want := range []string{
		`redoubt_packets_received_total{type="publish"} 7`,
		`redoubt_messages_dropped_total{reason="queue_full"} 2`,
		`redoubt_retained_bytes 4096`,
		`redoubt_build_info{revision="abcdef",version="1.2.3"} 1`,
		"# TYPE redoubt_packets_received_total counter",
		"# TYPE redoubt_sessions gauge",
	} {
		if !strings.Contains(out, "\n"+want+"\n") {
			t.Errorf("the page lacks the line %q", want)
		}
	}
	for _, want := range []string{"go_goroutines ", "process_open_fds "} {
		if !strings.Contains(out, "\n"+want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// What promtool check metrics would say, plus our own prefix.
func TestNamesAreClean(t *testing.T) {
	r := New()
	r.SetBuild("1", "x")
	r.NewShard()
	problems, err := promlint.New(strings.NewReader(scrape(t, r))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	seen := make(map[series]bool)
	kinds := make(map[string]series)
	for _, s := range catalogue {
		if !strings.HasPrefix(s.name, "redoubt_") {
			t.Errorf("%s does not begin with redoubt_", s.name)
		}
		if !strings.HasSuffix(s.help, ".") || strings.ContainsAny(s.help, "|\n") {
			t.Errorf("%s: help %q is not a sentence that fits a table", s.name, s.help)
		}
		key := series{name: s.name, label: s.label, value: s.value}
		if seen[key] {
			t.Errorf("%s{%s=%q} is in the catalogue twice", s.name, s.label, s.value)
		}
		seen[key] = true
		if k, ok := kinds[s.name]; ok && (k.kind != s.kind || k.help != s.help || k.label != s.label) {
			t.Errorf("%s: type, help and label must agree between its series", s.name)
		}
		kinds[s.name] = s
	}
}

// What the configuration names has a series each; two of the same labels must not cost the
// page.
func TestVectors(t *testing.T) {
	r := New()
	r.GaugeVector(CertificateNotAfter, func(set func(int64, ...string)) {
		set(7, "mqtts", "0")
		set(8, "mqtts", "1")
		set(9, "mqtts", "0")
		for i := range vectorSeriesMax {
			set(1, "many", strconv.Itoa(i))
		}
	})
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	page := w.Body.String()
	for _, want := range []string{`{certificate="0",listener="mqtts"} 7`, `{certificate="1",listener="mqtts"} 8`} {
		if !strings.Contains(page, "\nredoubt_certificate_not_after_timestamp_seconds"+want) {
			t.Errorf("no %s", want)
		}
	}
	if n := strings.Count(page, "\nredoubt_certificate_not_after_timestamp_seconds{"); n != vectorSeriesMax {
		t.Errorf("%d series, want %d", n, vectorSeriesMax)
	}
}

// Counting happens several times per packet, so it may not allocate, and a
// shard per core must stay small.
func TestCountingIsCheap(t *testing.T) {
	s := New().NewShard()
	if n := testing.AllocsPerRun(1000, func() { s.Inc(PacketsSent.At(3)); s.Add(BytesSent, 100) }); n != 0 {
		t.Errorf("counting allocates %v times", n)
	}
	if b := shardBytes(); b > 4096 {
		t.Errorf("a shard takes %d bytes, want at most a page", b)
	}
}

func BenchmarkAdd(b *testing.B) {
	s := New().NewShard()
	b.ReportAllocs()
	for b.Loop() {
		s.Add(BytesReceived, 100)
	}
}
