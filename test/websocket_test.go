package test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// TestALPNOfWebSocket: a TLS connection that was meant for something else does
// not get through (A142), and what is no request for a WebSocket is answered as
// HTTP.
func TestALPNOfWebSocket(t *testing.T) {
	t.Parallel()
	b := testkit.Start(t, testkit.Options{WebSocket: true})
	addr := fmt.Sprintf("127.0.0.1:%d", b.WebSocket)
	for _, row := range []struct {
		protocols []string
		path      string
		status    int // 0: no connection
	}{
		{nil, "/mqtt", http.StatusUpgradeRequired},
		{[]string{"h2", "http/1.1"}, "/", http.StatusNotFound},
		{[]string{"mqtt"}, "/mqtt", 0},
		{[]string{"h2"}, "/mqtt", 0},
	} {
		config := trust(t, b)
		config.NextProtos = row.protocols
		conn, err := tls.Dial("tcp", addr, config)
		if (err == nil) != (row.status != 0) {
			t.Errorf("ALPN %v: %v", row.protocols, err)
		}
		if err != nil {
			continue
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET "+row.path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != row.status {
			t.Errorf("%s: %v, %v; want %d", row.path, answer, err, row.status)
		}
		_ = conn.Close()
	}
}
