package listener

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// request is the one of a device, with lines replaced or left out ("Name": "")
// and others added.
func request(first string, changes ...string) string {
	headers := []string{"Host: broker", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: mqtt"}
	for _, c := range changes {
		name, value, _ := strings.Cut(c, ":")
		kept := headers[:0]
		for _, h := range headers {
			if !strings.HasPrefix(h, name+":") {
				kept = append(kept, h)
			}
		}
		if headers = kept; value != "" {
			headers = append(headers, c)
		}
	}
	return first + "\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

const get = "GET /mqtt HTTP/1.1"

// Covers: MQTT-6.0.0-4 (5.0), MQTT-6.0.0-4 (3.1.1)
func TestUpgrade(t *testing.T) {
	w := &WebSocket{Path: "/mqtt", Origins: []string{"https://app.example.com", "http://localhost:8080"}}
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf("X-%d: y", i)
	}
	for _, row := range []struct {
		name, request string
		status        int
		protocol      string
	}{
		{"a device", request(get), 101, "mqtt"},
		{"as Firefox does", request(get, "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Extensions: permessage-deflate", "Origin: https://app.example.com"), 101, "mqtt"},
		{"several subprotocols", request(get, "Sec-WebSocket-Protocol: foo, mqttv3.1, mqtt"), 101, "mqtt"},
		{"the old subprotocol", request(get, "Sec-WebSocket-Protocol: mqttv3.1"), 101, "mqttv3.1"},
		{"a query", request("GET /mqtt?x=1 HTTP/1.1"), 101, "mqtt"},
		{"the other origin", request(get, "Origin: http://localhost:8080"), 101, "mqtt"},

		{"another path", request("GET / HTTP/1.1"), 404, ""},
		{"a path below", request("GET /mqtt/ HTTP/1.1"), 404, ""},
		{"a path in disguise", request("GET /x/../mqtt HTTP/1.1"), 404, ""},
		{"a whole URL", request("GET http://broker/mqtt HTTP/1.1"), 404, ""},
		{"another method", request("POST /mqtt HTTP/1.1"), 405, ""},
		{"no upgrade", request(get, "Upgrade:"), 426, ""},
		{"no connection", request(get, "Connection: keep-alive"), 426, ""},
		{"HTTP/2 in clear", request(get, "Upgrade: h2c"), 426, ""},
		{"an old version", request(get, "Sec-WebSocket-Version: 8"), 426, ""},
		{"no version", request(get, "Sec-WebSocket-Version:"), 426, ""},
		{"no key", request(get, "Sec-WebSocket-Key:"), 400, ""},
		{"a short key", request(get, "Sec-WebSocket-Key: AAAA"), 400, ""},
		{"two keys", request(get, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, ""},
		{"no subprotocol", request(get, "Sec-WebSocket-Protocol:"), 400, ""},
		{"another subprotocol", request(get, "Sec-WebSocket-Protocol: foo, MQTT"), 400, ""},
		{"another origin", request(get, "Origin: https://evil.example"), 403, ""},
		{"an origin with more behind", request(get, "Origin: https://app.example.com.evil.example"), 403, ""},
		{"an origin of another scheme", request(get, "Origin: http://app.example.com"), 403, ""},
		{"no origin to speak of", request(get, "Origin: null"), 403, ""},
		{"an empty origin", request(get, "Origin: "), 403, ""},
		{"two origins", request(get, "Origin: https://app.example.com\r\nOrigin: https://evil.example"), 403, ""},
		{"HTTP/1.0", request("GET /mqtt HTTP/1.0"), 400, ""},
		{"no host", request(get, "Host:"), 400, ""},
		{"a body", request(get, "Content-Length: 5"), 400, ""},
		{"a body in chunks", request(get, "Transfer-Encoding: chunked"), 400, ""},
		{"bare line feeds", strings.ReplaceAll(get+"\r\nHost: a\r\nX: y", "\r\nX", "\nX") + "\r\n\r\n", 400, ""},
		{"not HTTP", "\x10\x0c\x00\x04MQTT\r\n\r\n", 400, ""},
		{"many headers", request(get, many...), 400, ""},
	} {
		if n := UpgradeSize([]byte(row.request + "\x82\x80")); n != len(row.request) {
			t.Errorf("%s: %d of %d bytes", row.name, n, len(row.request))
		}
		answer, err := w.Answer([]byte(row.request))
		if want := fmt.Sprintf("HTTP/1.1 %d ", row.status); !strings.HasPrefix(string(answer), want) || !strings.HasSuffix(string(answer), "\r\n\r\n") {
			t.Errorf("%s: %q, want %s", row.name, answer, want)
		}
		var refused *RefusedUpgrade
		if errors.As(err, &refused) != (row.status != 101) || refused != nil && (refused.Status != row.status || refused.Why == "") {
			t.Errorf("%s: %v", row.name, err)
		}
		if row.status == 101 && (!strings.Contains(string(answer), "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") || // RFC 6455 §1.3
			!strings.Contains(string(answer), "Sec-WebSocket-Protocol: "+row.protocol+"\r\n") || strings.Contains(string(answer), "Extensions")) {
			t.Errorf("%s: %q", row.name, answer)
		}
	}
}

func TestNoOriginListedMeansNoBrowser(t *testing.T) {
	w := &WebSocket{Path: "/mqtt"}
	for _, origin := range []string{"https://broker", "null", "http://localhost"} {
		if _, err := w.Answer([]byte(request(get, "Origin: "+origin))); err == nil || err.(*RefusedUpgrade).Status != 403 {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

// Whatever comes is answered, and what is answered 101 has asked for it.
func FuzzUpgrade(f *testing.F) {
	f.Add(request(get))
	f.Add(request(get, "Origin: https://app.example.com"))
	f.Add("GET / HTTP/1.1\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := UpgradeSize([]byte(text))
		if n == 0 {
			return
		}
		answer, err := (&WebSocket{Path: "/mqtt"}).Answer([]byte(text[:n]))
		if strings.HasPrefix(string(answer), "HTTP/1.1 101 ") != (err == nil) || strings.Count(string(answer), "\r\n\r\n") != 1 {
			t.Errorf("%q, %v", answer, err)
		}
		if lower := strings.ToLower(text[:n]); err == nil && (!strings.Contains(lower, "websocket") || !strings.Contains(lower, "mqtt") || strings.Contains(lower, "\norigin:")) {
			t.Errorf("%q was upgraded", text)
		}
	})
}
