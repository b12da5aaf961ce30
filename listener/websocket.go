package listener

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/metrics"
)

// WebSocket is the policy of an entrance that speaks MQTT in WebSocket frames. It
// judges the HTTP request that opens a connection; package conn reads it.
//
// Rules: RFC 6455 §4.2; MQTT 5.0 §6.0; attack A146.
type WebSocket struct {
	Path string // of the request, exactly

	// Origins are the pages a browser may connect from, exactly as browsers write
	// them: scheme, host, and port unless it is the scheme's own. Who sends no
	// Origin needs none. The address asked for is not taken for a page of ours:
	// whoever makes a name of his resolve to us has that one.
	Origins []string
}

// Sizes of the request.
const (
	UpgradeBytesMax   = 8 << 10
	upgradeHeadersMax = 32
)

// WebSocketALPN is what a client of wss may offer in TLS: browsers, and whoever
// asks for nothing.
const WebSocketALPN = "http/1.1"

// subprotocols are the names of MQTT, the better first: 5.0 and 3.1.1 have the
// first [MQTT-6.0.0-4], older clients offer the second.
var subprotocols = []string{"mqtt", "mqttv3.1"}

// RefusedUpgrade is a request that was not accepted, and what it is answered.
type RefusedUpgrade struct {
	Status int        // of HTTP
	Count  metrics.ID // of which kind it is
	Why    string     // for the operator
}

// Error implements error.
func (r *RefusedUpgrade) Error() string { return fmt.Sprintf("HTTP %d: %s", r.Status, r.Why) }

// UpgradeSize is how many bytes of b the request takes, with the empty line at its
// end; 0 means that more have to come.
func UpgradeSize(b []byte) int {
	before, _, whole := bytes.Cut(b, endOfRequest)
	if !whole {
		return 0
	}
	return len(before) + len(endOfRequest)
}

var endOfRequest = []byte("\r\n\r\n")

// Answer judges a whole request and answers what to write. An error is a
// *RefusedUpgrade: the answer says so, and the connection is closed after it.
// Extensions are never accepted, compression among them: what is compressed
// together with a secret tells of it by its length, and a small frame could
// inflate to a large one.
func (w *WebSocket) Answer(request []byte) (answer []byte, err error) {
	key, protocol, refused := w.judge(request)
	if refused == nil {
		return fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n", accept(key), protocol), nil
	}
	return refusal(refused), refused
}

// refusal is the answer that closes. It says nothing that a stranger could learn
// from: why is told to the operator.
func refusal(r *RefusedUpgrade) []byte {
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n", r.Status, http.StatusText(r.Status))
	if r.Status == http.StatusUpgradeRequired {
		b = append(b, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"...)
	}
	return append(b, "\r\n"...)
}

// TooLong is the answer to a request over UpgradeBytesMax.
func (w *WebSocket) TooLong() (answer []byte, err error) {
	r := &RefusedUpgrade{http.StatusRequestHeaderFieldsTooLarge, metrics.UpgradesFailedTooLong, "the request is longer than 8 KiB"}
	return refusal(r), r
}

func (w *WebSocket) judge(request []byte) (key, protocol string, refused *RefusedUpgrade) {
	no := func(status int, count metrics.ID, why string, args ...any) (string, string, *RefusedUpgrade) {
		return "", "", &RefusedUpgrade{status, count, fmt.Sprintf(why, args...)}
	}
	r, err := parse(request)
	if err != nil {
		return no(http.StatusBadRequest, metrics.UpgradesFailedMalformed, "%v", err)
	}
	if path, _, _ := strings.Cut(r.RequestURI, "?"); path != w.Path {
		return no(http.StatusNotFound, metrics.UpgradesFailedPath, "the path is %.100q; this listener's is %q", path, w.Path)
	}
	if r.Method != http.MethodGet {
		return no(http.StatusMethodNotAllowed, metrics.UpgradesFailedMethod, "the method is %.20q, not GET", r.Method)
	}
	if !has(r.Header, "Connection", "upgrade") || !has(r.Header, "Upgrade", "websocket") {
		return no(http.StatusUpgradeRequired, metrics.UpgradesFailedNoUpgrade, "it does not ask for an upgrade to WebSocket")
	}
	if one(r.Header, "Sec-Websocket-Version") != "13" {
		return no(http.StatusUpgradeRequired, metrics.UpgradesFailedNoUpgrade, "the version of WebSocket is %.20q, not 13", one(r.Header, "Sec-Websocket-Version"))
	}
	key = one(r.Header, "Sec-Websocket-Key")
	if nonce, err := base64.StdEncoding.Strict().DecodeString(key); err != nil || len(nonce) != 16 {
		return no(http.StatusBadRequest, metrics.UpgradesFailedMalformed, "Sec-WebSocket-Key is not 16 bytes in base64")
	}
	if origins := r.Header["Origin"]; len(origins) > 0 && !slices.Contains(w.Origins, one(r.Header, "Origin")) {
		return no(http.StatusForbidden, metrics.UpgradesFailedOrigin, "the Origin is %.100q, which is not in the listener's origins; add it if it is a page of yours, or a device whose library sends one", origins)
	}
	offered := tokens(r.Header, "Sec-Websocket-Protocol")
	for _, name := range subprotocols {
		if slices.Contains(offered, name) {
			return key, name, nil
		}
	}
	return no(http.StatusBadRequest, metrics.UpgradesFailedSubprotocol, "the subprotocols offered are %.100q; mqtt is not among them", offered)
}

// parse reads the request with the standard library's own hands and refuses what
// different readers take differently.
func parse(request []byte) (*http.Request, error) {
	if bytes.Count(request, []byte("\n")) != bytes.Count(request, []byte("\r\n")) {
		return nil, errors.New("it has lines that do not end in CR LF")
	}
	if bytes.Count(request, []byte("\n")) > upgradeHeadersMax+2 { // with the first line and the empty one
		return nil, fmt.Errorf("it has more than %d headers", upgradeHeadersMax)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
	switch {
	case err != nil:
		return nil, errors.New("it is not HTTP") // err quotes what the stranger wrote
	case r.ProtoMajor != 1 || r.ProtoMinor != 1:
		return nil, errors.New("it is not HTTP/1.1")
	case r.Host == "":
		return nil, errors.New("it has no Host")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return nil, errors.New("it has a body")
	}
	return r, nil
}

// accept proves that the request was understood, RFC 6455 §4.2.2. The protocol
// asks for SHA-1 here, as a checksum: nothing rests on its strength.
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// one is the value of a header that may be there once; otherwise "".
func one(h http.Header, name string) string {
	if v := h[name]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// tokens are the names in a header that is a list.
func tokens(h http.Header, name string) (out []string) {
	for _, v := range h[name] {
		for t := range strings.SplitSeq(v, ",") {
			out = append(out, strings.TrimSpace(t))
		}
	}
	return out
}

func has(h http.Header, name, token string) bool {
	return slices.ContainsFunc(tokens(h, name), func(t string) bool { return strings.EqualFold(t, token) })
}
