package admin

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
)

// HealthOptions is what a Health needs; everything is required.
type HealthOptions struct {
	// Metrics serves /metrics.
	Metrics http.Handler
	// NotReady answers why clients are not served; nothing means they are. It must
	// answer at once.
	NotReady func() []string
	Log      *slog.Logger
}

// Health serves /metrics, /livez and /readyz to anybody who reaches it, over
// plain HTTP: it belongs on loopback. It changes nothing and shows no identity.
type Health struct {
	handler http.Handler
	log     *slog.Logger
	times   timeouts
}

// NewHealth builds the pages; Serve runs them.
func NewHealth(o HealthOptions) *Health {
	if o.Metrics == nil || o.NotReady == nil || o.Log == nil {
		panic("BUG: admin: HealthOptions has an empty field")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := o.NotReady(); len(why) > 0 {
			w.Header().Set("Retry-After", "1")
			text(w, http.StatusServiceUnavailable, strings.Join(why, "\n"))
			return
		}
		text(w, http.StatusOK, "ok")
	})
	return &Health{handler: noBody(mux), log: o.Log, times: defaultTimeouts}
}

// Serve is Server.Serve for the pages; ln is a TCP listener.
func (h *Health) Serve(ctx context.Context, ln net.Listener) error {
	return serve(ctx, newHTTPServer(h.handler, h.log, h.times), ln, h.times.graceful)
}

// noBody refuses requests that bring something: no page takes any.
func noBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if r.ContentLength != 0 { // -1: chunked
			h.Set("Connection", "close")
			text(w, http.StatusRequestEntityTooLarge, "no page here takes a body")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, s+"\n") // the caller hung up
}
