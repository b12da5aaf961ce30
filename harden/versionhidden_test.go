package harden

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// pages is a server of HTTP beside the listeners, on which metrics are.
func (f *fake) pages(e *Env, address string, answer http.HandlerFunc) {
	f.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.opened(l.(held))
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: answer}}
	s.Start()
	f.t.Cleanup(s.Close)
	e.Config.Metrics.Bind = []string{l.Addr().String()}
}

// goodPages are those of the broker.
func goodPages(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/livez":
		fmt.Fprintln(w, "ok")
	case "/metrics":
		fmt.Fprintf(w, "redoubt_build_info{version=%q} 1\n", fakeVersion)
	default:
		http.NotFound(w, r)
	}
}

// A broker that tells strangers its version is found, whichever way it does.
func TestTheVersionIsHidden(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flaws    flaws
		protocol string
		metrics  string
		pages    http.HandlerFunc
		spoil    func(f *fake)
		state    State
		want     string
	}{
		"good":                           {state: Pass},
		"good, WebSocket":                {protocol: "wss", state: Pass},
		"in a reason":                    {flaws: flaws{tellsVersion}, state: Fail, want: "MQTT 5.0: it holds the version"},
		"in a property":                  {flaws: flaws{tellsByProperty}, state: Fail, want: "MQTT 5.0: it holds the version"},
		"behind a refusal of MQTT 3.1.1": {flaws: flaws{tellsVersion4}, state: Fail, want: "MQTT 3.1.1: it holds the version"},
		"on WebSocket alone":             {flaws: flaws{tellsVersion}, protocol: "wss", state: Fail, want: "it holds the version"},
		"in the certificate":             {spoil: func(f *fake) { f.cert = certificateOf(f.t, "broker "+fakeVersion) }, state: Fail, want: "the certificate that is shown: it holds the version"},
		"in a head": {pages: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", "fake/"+fakeVersion)
			goodPages(w, r)
		}, state: Fail, want: "GET /: it holds the version"},
		"on a page of errors":               {pages: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "fake "+fakeVersion, http.StatusNotFound) }, state: Fail, want: "it holds the version"},
		"by metrics that others can read":   {metrics: "0.0.0.0:0", state: Fail, want: "GET /metrics: it holds the version"},
		"closes without a word":             {flaws: flaws{nobody, closesOnly}, state: Pass},
		"a page that is none":               {pages: func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, state: Unknown, want: "no answer in HTTP"},
		"a broker that does not say itself": {flaws: flaws{unversioned}, state: Unknown, want: "nothing to look for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P5.7", name, c.state)
			f := newFake(t, c.flaws)
			if c.spoil != nil {
				c.spoil(f)
			}
			protocol := c.protocol
			if protocol == "" {
				protocol = "mqtts"
			}
			f.listen("a", protocol, "127.0.0.1:0")
			e := f.env()
			pages, address := c.pages, c.metrics
			if pages == nil {
				pages = goodPages
			}
			if address == "" {
				address = "127.0.0.1:0"
			}
			f.pages(e, address, pages)
			rep := examine(t, f.alone(e), "P5.7")
			var out strings.Builder
			if err := rep.WriteText(&out, TextOptions{Evidence: true}); err != nil {
				t.Fatal(err)
			}
			if s := rep.Rows[0].State(); s != c.state || !strings.Contains(out.String(), c.want) {
				t.Errorf("%s, want %s and %q in\n%s", s, c.state, c.want, out.String())
			}
		})
	}
}

// Pages of metrics that are a way to administer are found; who answers nothing proves nothing.
func TestMetricsAreNoAdministration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pages http.HandlerFunc
		state State
	}{
		"a dashboard":              {func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "<html>") }, Fail},
		"an API that asks for one": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, Fail},
		"a way to one":             {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, Fail},
		"nobody answers":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P5.1", "metrics are "+name, c.state)
			f := newFake(t, nil)
			f.listen("a", "mqtts", "127.0.0.1:0")
			e := f.env()
			f.pages(e, "127.0.0.1:0", c.pages)
			q := f.alone(e).inquire("node")
			q.noPages(t.Context())
			if r := q.result(Behavioural, ""); r.State != c.state {
				t.Errorf("%s: %s", r.State, r.Summary)
			}
		})
	}
	f := newFake(t, nil)
	f.listen("a", "mqtts", "127.0.0.1:0")
	e := f.env()
	f.pages(e, "127.0.0.1:0", goodPages)
	q := f.alone(e).inquire("node")
	if q.noPages(t.Context()); q.result(Behavioural, "").State != NotApplicable || len(q.obs) != 2 {
		t.Errorf("%+v", q.obs)
	}
}
