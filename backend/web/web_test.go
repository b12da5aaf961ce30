package web

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

var quietLog = log.New(io.Discard, "", 0)

// Right, wrong, unknown, empty, and what is meant to be more than a name (A123, A125).
func TestLogins(t *testing.T) {
	s := serve(t, judge)
	b, a := open(t, s.options(), backend.Options{}, judgeQuery)
	if r := login(a, "ann", "right"); r.Outcome != auth.Allow || r.Principal.Identity != "ann" {
		t.Fatalf("right: %+v", r)
	}
	if r := login(a, "ann", "wrong"); r.Outcome != auth.Deny || r.Reason != mqtt.BadUserNameOrPassword {
		t.Errorf("wrong: %+v", r)
	}
	if r := login(a, "bob", "right"); r.Outcome != auth.Ignore {
		t.Errorf("unknown: %+v", r)
	}
	if r := login(a, "ann", ""); r.Outcome != auth.Deny {
		t.Errorf("empty: %+v", r)
	}
	before := s.count()
	for _, id := range []string{"..", "../../admin", "a/../../admin", "%2e%2e%2f", `..\x`, "a\r\nX-Admin: 1", "x HTTP/1.1\r\nHost: else\r\n\r\nGET /", "\x00"} {
		if r := login(a, "ann", "right", func(r *auth.Request) { r.ClientID = id }); r.Outcome != auth.Deny {
			t.Errorf("client %q: %+v", id, r)
		}
	}
	if s.count() != before {
		t.Error("such a name has reached the service")
	}
	for _, name := range []string{`x","username":"ann`, `"}`, "ann\u2028", "${username}", "http://169.254.169.254/latest", "' or 1=1--", strings.Repeat("a", 65535)} {
		if r := login(a, name, "right"); r.Outcome != auth.Ignore {
			t.Errorf("user %.30q: %+v", name, r)
		}
	}
	if r := login(a, "ann", "right", func(r *auth.Request) { r.ClientID = "a?b=c&d#e f;ü" }); r.Outcome != auth.Allow {
		t.Errorf("an odd name: %+v", r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.asked[len(s.asked)-1]
	if last.URL.Path != "/auth/a?b=c&d#e f;ü" || last.URL.RawQuery != "" || last.Host != s.Listener.Addr().String() || last.Header.Get("Content-Type") != "application/json" {
		t.Errorf("it was asked %s at %s: %v", last.URL, last.Host, last.Header)
	}
	for _, text := range s.bodies {
		var body map[string]string
		if err := json.Unmarshal([]byte(text), &body); err != nil || len(body) != 2 {
			t.Errorf("a body is %.60q", text)
		}
	}
	if b.Stats().Counts[backend.Answered] == 0 {
		t.Error("nothing is counted")
	}
}

// A status says nothing about a client; what it makes of the breaker is not the client's to
// choose. A redirect leads nowhere.
func TestStatuses(t *testing.T) {
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"result":"allow"}`)
	})
	var status int
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", other.URL+"/auth")
		if w.WriteHeader(status); status != 204 && status != 304 {
			_, _ = io.WriteString(w, `{"result":"allow"}`)
		}
	})
	for _, status = range []int{201, 202, 203, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 407, 413, 429, 431, 500, 501, 502, 503, 504, 599} {
		b, a := open(t, s.options(), backend.Options{Failures: 2, OpenFor: time.Hour}, judgeQuery)
		for range 3 {
			if r := login(a, "ann", "right"); r.Outcome != auth.Unavailable || !strings.Contains(r.Detail, fmt.Sprint(status)) {
				t.Errorf("%d: %+v", status, r)
			}
		}
		if down := status >= 502 && status <= 504; b.Stats().Open != down {
			t.Errorf("%d: the breaker is open: %t", status, !down)
		}
	}
	if other.count() != 0 {
		t.Error("a redirect was followed")
	}
}

// What comes in another form than an answer has is none, is bounded, and is not waited for.
func TestAnswersThatAreNone(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	allow := `{"result":"allow"}`
	whole := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", ok, len(allow), allow)
	for name, c := range map[string]struct {
		text string
		kind backend.Kind
	}{
		"good":                   {whole, backend.Answered},
		"after an early hint":    {"HTTP/1.1 103 Early Hints\r\n\r\n" + whole, backend.Answered},
		"to the end":             {ok + "Connection: close\r\n\r\n" + allow, backend.Answered},
		"nothing":                {"", backend.Down},
		"another protocol":       {"SSH-2.0-x\r\n", backend.Garbage},
		"zero bytes":             {strings.Repeat("\x00", 4096), backend.Garbage},
		"HTTP/2":                 {"\x00\x00\x12\x04\x00\x00\x00\x00\x00", backend.Garbage},
		"early hints":            {strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10) + whole, backend.Garbage},
		"switching":              {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + allow, backend.BadAnswer},
		"no content type":        {fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(allow), allow), backend.BadAnswer},
		"html":                   {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", backend.BadAnswer},
		"two content types":      {ok + "Content-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", backend.BadAnswer},
		"another charset":        {"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-16\r\nContent-Length: 2\r\n\r\n{}", backend.BadAnswer},
		"compressed":             {ok + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", backend.BadAnswer},
		"no JSON":                {ok + "Content-Length: 5\r\n\r\nallow", backend.BadAnswer},
		"no UTF-8":               {ok + "Content-Length: 4\r\n\r\n\"\xff\xfe\"", backend.BadAnswer},
		"cut off":                {ok + "Content-Length: 100\r\n\r\n" + allow, backend.Garbage},
		"cut off in pieces":      {ok + "Transfer-Encoding: chunked\r\n\r\n12\r\n" + allow, backend.Garbage},
		"bad pieces":             {ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", backend.Garbage},
		"two lengths":            {ok + "Content-Length: 2\r\nContent-Length: 18\r\n\r\n" + allow, backend.Garbage},
		"a long body":            {ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", BodyBytesMax+1) + strings.Repeat(" ", BodyBytesMax+1), backend.Excess},
		"a body without end":     {ok + "\r\n" + strings.Repeat(" ", 4*BodyBytesMax), backend.Excess},
		"pieces of one byte":     {ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\n \r\n", BodyBytesMax), backend.Excess},
		"long extensions":        {ok + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("a", 10*BodyBytesMax) + "\r\n", backend.Garbage},
		"a long header":          {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 2*HeaderBytesMax) + "\r\n\r\n", backend.Excess},
		"many headers":           {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: a\r\n", HeaderBytesMax), backend.Excess},
		"a status line for ever": {"HTTP/1.1 200 " + strings.Repeat("a", 2*HeaderBytesMax), backend.Excess},
	} {
		d := New(babbling(t, false, func(conn net.Conn, _ int) { _, _ = io.WriteString(conn, c.text) }), clock.System{})
		if rows, err := ask(d, 10*time.Second); backend.KindOf(err) != c.kind || err != nil && rows != nil {
			t.Errorf("%s: %v %v, want %v", name, rows, err, c.kind)
		}
		d.Close()
	}
}

// An answer that drips is given up when its time is over, however alive it looks.
func TestSlowAnswers(t *testing.T) {
	for name, text := range map[string]string{"head": "HTTP/1.1 200 OK\r\n", "body": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n", "silence": ""} {
		d := New(babbling(t, false, func(c net.Conn, _ int) {
			_, err := io.WriteString(c, text)
			for err == nil {
				<-time.After(5 * time.Millisecond)
				if _, err = c.Write([]byte("X"[:min(1, len(text))])); text == "" {
					_, err = c.Read(make([]byte, 1))
				}
			}
		}), clock.System{})
		began := time.Now()
		if _, err := ask(d, 100*time.Millisecond); backend.KindOf(err) != backend.Timeout {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s: given up after %v", name, took)
		}
		d.Close()
	}
}

// What came when nobody had asked is not the answer to the next question.
func TestAnswersNobodyAskedFor(t *testing.T) {
	one := func(result string) string {
		body := `{"result":"` + result + `"}`
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	for name, second := range map[string]bool{"with the answer": false, "after it": true} {
		read, said := make(chan struct{}, 8), make(chan struct{}, 8)
		d := New(babbling(t, true, func(c net.Conn, _ int) {
			if second {
				_, _ = io.WriteString(c, one("deny"))
				<-read
				_, _ = io.WriteString(c, one("allow"))
			} else {
				_, _ = io.WriteString(c, one("deny")+one("allow"))
			}
			said <- struct{}{}
		}), clock.System{})
		for range 4 {
			rows, err := ask(d, 10*time.Second)
			read <- struct{}{}
			<-said
			if err != nil || !strings.Contains(rows[0][1].Value, "deny") {
				t.Errorf("%s: %v %v", name, rows, err)
			}
		}
		d.Close()
	}
}

// The certificate has to be valid for the name and of the CA, plain text is no way out, and
// ours is shown.
func TestTLSIsVerified(t *testing.T) {
	s := serve(t, judge)
	for name, conf := range map[string]*tls.Config{"other name": s.trusting("other.test"), "system roots": {MinVersion: tls.VersionTLS12}, "too old": func() *tls.Config {
		c := s.trusting("")
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		return c
	}()} {
		b, a := open(t, optionsAt(s.Listener.Addr().String(), conf), backend.Options{}, judgeQuery)
		if r := login(a, "ann", "right"); r.Outcome != auth.Unavailable || b.Stats().Counts[backend.Down] != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	_, a := open(t, optionsAt(s.Listener.Addr().String(), nil), backend.Options{}, judgeQuery)
	if r := login(a, "ann", "right"); r.Outcome != auth.Unavailable {
		t.Errorf("plain text: %+v", r)
	}
	if s.count() != 0 {
		t.Error("somebody was asked who had not proved who he is")
	}
	conf := s.trusting("example.com")
	conf.Certificates = s.TLS.Certificates
	_, a = open(t, optionsAt(s.Listener.Addr().String(), conf), backend.Options{}, judgeQuery)
	if r := login(a, "ann", "right"); r.Outcome != auth.Allow {
		t.Errorf("by another name: %+v", r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.asked[0]; len(r.TLS.PeerCertificates) == 0 || r.ProtoMajor != 1 {
		t.Errorf("shown %d certificates over %s", len(r.TLS.PeerCertificates), r.Proto)
	}
}

// Who we are is said in every question; the next credential is the next configuration's
// business. A service that answers nobody is trouble, and its end is told.
func TestCredentialIsRotated(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // is not looked at
	want := "Bearer first"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != want || r.Header.Get("X-Api-Key") != "key 1" || r.URL.Path != "/base/auth/c1" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		judge(w, r)
	})
	opt := s.options()
	opt.Base, opt.Headers = "/base", []Header{{"X-Api-Key", secret.FromString("key 1")}}
	opt.Password = secret.FromString("first")
	_, a := open(t, opt, backend.Options{}, judgeQuery)
	if r := login(a, "ann", "right"); r.Outcome != auth.Allow {
		t.Errorf("a token: %+v", r)
	}
	want = "Basic cmVkb3VidDpzZWNvbmQ="
	if r := login(a, "ann", "right"); r.Outcome != auth.Unavailable || strings.Contains(r.Detail, "first") || !strings.Contains(r.Detail, "401") {
		t.Errorf("the old one: %+v", r)
	}
	opt.Username, opt.Password = "redoubt", secret.FromString("second")
	_, next := open(t, opt, backend.Options{}, judgeQuery)
	if r := login(next, "ann", "right"); r.Outcome != auth.Allow {
		t.Errorf("the new one: %+v", r)
	}
}

func TestTrouble(t *testing.T) {
	clk := clock.NewManual(time.Unix(0, 0))
	var told []string
	tell := func(_ time.Time, yes bool, why string) { told = append(told, fmt.Sprint(yes, " ", why)) }
	var tr trouble
	for range 10 { // at once, as one client can
		tr.bad(clk.Now(), 5, "401", tell)
	}
	clk.Advance(TroubleAfter - 1)
	tr.bad(clk.Now(), 5, "401", tell)
	tr.good(clk.Now(), tell)
	clk.Advance(time.Hour)
	tr.bad(clk.Now(), 5, "401", tell)
	clk.Advance(TroubleAfter)
	tr.bad(clk.Now(), 5, "401", tell)
	if len(told) != 0 {
		t.Errorf("told %q", told)
	}
	for range 5 {
		tr.bad(clk.Now(), 5, "401", tell)
	}
	tr.good(clk.Now(), tell)
	tr.good(clk.Now(), tell)
	if len(told) != 2 || !strings.HasPrefix(told[0], "true") || !strings.HasSuffix(told[0], "401") || told[1] != "false " {
		t.Errorf("told %q", told)
	}
}

// There are as many connections as workers and no more, used again and again; one that the
// service has ended is replaced, and the question asked once more.
func TestConnectionsAreUsedAgain(t *testing.T) {
	s := serve(t, judge)
	_, a := open(t, s.options(), backend.Options{Workers: 3, Queue: 1000, Share: 1000}, judgeQuery)
	var wait sync.WaitGroup
	for i := range 200 {
		wait.Add(1)
		a.Authenticate(&auth.Request{ClientID: "c", Username: "ann", HasPassword: true, Password: secret.FromString("right"), Addr: netip.AddrFrom4([4]byte{10, 0, byte(i), 1})}, func(r auth.Result) {
			if r.Outcome != auth.Allow {
				t.Errorf("%+v", r)
			}
			wait.Done()
		})
	}
	wait.Wait()
	s.mu.Lock()
	if s.most > 3 || s.opened > 3 {
		t.Errorf("%d connections, %d at once", s.opened, s.most)
	}
	s.mu.Unlock()
	s.CloseClientConnections()
	if r := login(a, "ann", "right"); r.Outcome != auth.Allow {
		t.Errorf("after the service has ended all: %+v", r)
	}
}

// A storm at a service that is gone, or says nothing, gets its answers in time from a bounded
// number of goroutines (A103).
func TestDownInAStorm(t *testing.T) {
	s := serve(t, judge)
	gone := s.options()
	s.Close()
	for name, opt := range map[string]Options{"gone": gone, "stalled": babbling(t, true, func(net.Conn, int) {})} {
		b, a := open(t, opt, backend.Options{Workers: 2, Queue: 50, Timeout: 200 * time.Millisecond, Failures: 2}, judgeQuery)
		before, most := runtime.NumGoroutine(), 0
		var wait sync.WaitGroup
		began := time.Now()
		for i := range 1000 {
			wait.Add(1)
			a.Authenticate(&auth.Request{ClientID: "c", Username: fmt.Sprint("u", i), HasPassword: true, Password: secret.FromString("x"), Addr: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})}, func(r auth.Result) {
				if r.Outcome != auth.Unavailable {
					t.Errorf("%s: %+v", name, r)
				}
				wait.Done()
			})
			most = max(most, runtime.NumGoroutine())
		}
		wait.Wait()
		if took := time.Since(began); took > 3*time.Second || most > before+20 || !b.Stats().Open {
			t.Errorf("%s: %v, %d goroutines more, breaker open: %t", name, took, most-before, b.Stats().Open)
		}
	}
}

func TestPing(t *testing.T) {
	status := http.StatusNotFound
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	d := New(s.options(), clock.System{})
	defer d.Close()
	if err := d.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	if status = http.StatusInternalServerError; backend.KindOf(d.Ping(context.Background())) != backend.Down {
		t.Error("500 is an answer")
	}
	for _, q := range []backend.Question{{Text: "PUT", Args: []string{"/"}}, {Text: "GET"}, {Text: "GET", Args: []string{"x"}}, {Text: "GET", Args: []string{"//else/"}}, {Text: "GET", Args: []string{"/ HTTP/1.1"}}, {Text: "GET", Args: []string{"/", "A: b\r\nC: d"}}, {Text: "GET", Args: []string{"/ü"}}} {
		before := s.count()
		if _, err := d.Ask(context.Background(), q); backend.KindOf(err) != backend.Rejected || s.count() != before {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
