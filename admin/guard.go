package admin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/builtin/userfile"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// requestsMax bounds requests worked on at once; one more is told to come again.
// Adding a user hashes a password in 19 MiB.
const requestsMax = 16

// requestTime bounds one request.
const requestTime = 20 * time.Second

// pathShownMax bounds what of a path goes into the log.
const pathShownMax = 200

const noSuchPath = "there is no such path; the document of this API is at " + openAPIPath

// peer is the process at the other end of the socket.
type peer struct{ uid, pid int }

type (
	peerKey      struct{} // peer of a connection, absent when the kernel did not say
	requestIDKey struct{}
	matchedKey   struct{} // *matched
)

// matched is the operation that a request turned out to be, for its line of the log.
type matched struct {
	id    string
	reads bool // it changes nothing, whatever its method
}

// withPeer is http.Server.ConnContext.
func withPeer(log *slog.Logger) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, c net.Conn) context.Context {
		p, err := peerOf(c)
		if err != nil {
			log.Warn("administration socket: cannot tell who is calling", "error", err)
			return ctx
		}
		return context.WithValue(ctx, peerKey{}, p)
	}
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// guard stands before every operation: it gives the request a number, asks who
// is calling, limits, and writes the log line.
type guard struct {
	next     *http.ServeMux
	log      *slog.Logger
	clock    clock.Clock
	uid      int           // of this process; it and root may call
	requests chan struct{} // a token per request worked on
	probes   *Probes       // nil: there are none
}

func newGuard(next *http.ServeMux, log *slog.Logger, clk clock.Clock, uid int) *guard {
	return &guard{next: next, log: log, clock: clk, uid: uid, requests: make(chan struct{}, requestsMax)}
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := g.clock.Now()
	id := newRequestID()
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), requestIDKey{}, id), requestTime)
	defer cancel()
	out := &recorder{ResponseWriter: w}
	h := out.Header()
	h.Set("X-Request-Id", id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")

	who, known := ctx.Value(peerKey{}).(peer)
	if !known {
		who = peer{uid: -1, pid: -1}
	}
	// Logged whatever happens, a panic included.
	var op matched
	ctx = context.WithValue(ctx, matchedKey{}, &op)
	r = r.WithContext(context.WithValue(ctx, callerKey{}, caller{role: administrator, scopes: allScopes}))
	defer func() {
		if v := recover(); v != nil && !hungUp(v) {
			g.log.Error("administration request failed: this is a bug", "request_id", id, "panic", v, "stack", string(debug.Stack()))
			out.problem(id, http.StatusInternalServerError, "this should not have happened; the broker's log has the details under the request id")
		}
		g.record(r, &op, out.status, who, id, g.clock.Now().Sub(start))
	}()
	if !known || (who.uid != g.uid && who.uid != 0) {
		h.Set("Connection", "close")
		out.problem(id, http.StatusForbidden, "only the user the broker runs as and root may use this socket")
		return
	}
	select {
	case g.requests <- struct{}{}:
		defer func() { <-g.requests }()
	default:
		h.Set("Retry-After", "1")
		out.problem(id, http.StatusServiceUnavailable, "too many administration requests at once; try again")
		return
	}
	if p := r.URL.EscapedPath(); path.Clean(p) != p {
		// The mux would redirect; whoever sends "//" or ".." has a bug or means ill.
		out.problem(id, http.StatusNotFound, noSuchPath)
		return
	}
	_, pattern := g.next.Handler(r)
	r.Body = http.MaxBytesReader(w, r.Body, bodyMax(pattern))
	if pattern == "" {
		g.unmatched(out, r, id)
		return
	}
	g.next.ServeHTTP(out, r)
}

// bodyMax is how many bytes a body of a request may have.
func bodyMax(pattern string) int64 {
	if pattern == http.MethodPost+" "+importPath {
		return bans.FileBytesMax
	}
	if pattern == http.MethodPost+" "+importUsersPath {
		return userfile.BytesMax
	}
	return bodyBytesMax
}

// hungUp tells a panic of huma that means "could not write the answer" from a bug.
func hungUp(v any) bool {
	err, ok := v.(error)
	var op *net.OpError
	return ok && errors.As(err, &op) && op.Op == "write"
}

// unmatched lets the mux decide between 404 and 405 and says it as a problem.
func (g *guard) unmatched(w *recorder, r *http.Request, id string) {
	verdict := discard{http.Header{}}
	g.next.ServeHTTP(verdict, r)
	if allow := verdict.Header().Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		w.problem(id, http.StatusMethodNotAllowed, "this path is used with "+allow)
		return
	}
	w.problem(id, http.StatusNotFound, noSuchPath)
}

// record writes the log line: changes and refusals always, reads for those who
// look closely, and so what the line of a run of redoubt doctor counts. Neither query nor body is in it.
func (g *guard) record(r *http.Request, op *matched, status int, who peer, id string, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case status == http.StatusForbidden:
		level = slog.LevelWarn
	case r.Method == http.MethodGet || r.Method == http.MethodHead || op.reads && status < http.StatusBadRequest:
		level = slog.LevelDebug
	case status < http.StatusBadRequest && g.probes.counted(op.id, who, id):
		level = slog.LevelDebug
	}
	shown := r.URL.Path
	if len(shown) > pathShownMax {
		shown = strings.ToValidUTF8(shown[:pathShownMax], "") + "..."
	}
	g.log.LogAttrs(r.Context(), level, "administration request",
		slog.String("method", r.Method), slog.String("path", shown), slog.Int("status", status),
		slog.String("peer", g.words(who)), slog.Int("peer_uid", who.uid), slog.Int("peer_pid", who.pid),
		slog.String("request_id", id), slog.Int64("took_us", took.Microseconds()))
}

// overflowUID is whom the kernel names in place of a user that our user namespace does not have.
const overflowUID = 65534

// words are who calls, for who reads the log: in a namespace of its own (PrivateUsers=yes of
// systemd) everybody but root and the broker's user has the same number.
func (g *guard) words(who peer) string {
	switch who.uid {
	case 0:
		return "root"
	case g.uid:
		return "the broker's user"
	case overflowUID:
		return "nobody, or a user that is not shown inside of PrivateUsers="
	case -1:
		return "not known"
	}
	return "another user"
}

// recorder remembers the status. It does not lead to the deadlines below it, so
// that huma cannot replace the server's own.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// problem answers with an error unless an answer has begun.
func (r *recorder) problem(id string, status int, detail string) {
	if r.status != 0 {
		return
	}
	p := newProblem(status, detail).(*Problem)
	p.RequestID = id
	p.write(r)
}

// discard is a ResponseWriter of which only the headers are of interest.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}
