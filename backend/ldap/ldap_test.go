package ldap

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A directory that says that what a client chose is no value of an attribute is well: who
// asks so is refused, and nobody else.
func TestWhatTheDirectorySaysOfAValue(t *testing.T) {
	for code, want := range map[byte]backend.Kind{
		18: backend.Rejected, // inappropriateMatching
		21: backend.Rejected, // invalidAttributeSyntax
		1:  backend.Down,     // operationsError
		50: backend.Down,     // insufficientAccessRights: of our own login
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			ask := make([]byte, 1024) // its message id is its fifth byte
			if n, err := c.Read(ask); err != nil || n < 5 {
				return
			}
			_, _ = c.Write([]byte{0x30, 0x0c, 0x02, 0x01, ask[4], 0x65, 0x07, 0x0a, 0x01, code, 0x04, 0x00, 0x04, 0x00})
			_, _ = c.Read(ask)
		}()
		to, err := backend.ParseServer(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		d := New(Options{Servers: []backend.Server{to}}, clock.System{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err = d.Ask(ctx, backend.Question{Text: "ou=people,dc=test??sub", Args: []string{"(uid=ann)"}, RowsMax: 1})
		if got := backend.KindOf(err); err == nil || got != want {
			t.Errorf("code %d: %v (%v), want %v", code, err, got, want)
		}
		cancel()
		d.Close()
		_ = l.Close()
		<-done
	}
}
