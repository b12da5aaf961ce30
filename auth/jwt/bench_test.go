package jwt

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

// BenchmarkLogin is one login: verified, and verified before.
func BenchmarkLogin(b *testing.B) {
	rs := byES(b)
	rs.Algorithms, rs.Keys.Public = []string{"RS256"}, []File{{"rs.pem", pemOf(b, rsaKey.Public())}}
	for _, c := range []struct {
		name, token string
		o           Options
		keep        time.Duration
	}{
		{"HS256", sign(b, "HS256", []byte(hmacSecret), good()), byHS(), 0},
		{"ES256", sign(b, "ES256", ecKey, good()), byES(b), 0},
		{"RS256", sign(b, "RS256", rsaKey, good()), rs, 0},
		{"ES256 kept", sign(b, "ES256", ecKey, good()), byES(b), time.Minute},
		{"ES256 forged", sign(b, "ES256", otherEC, good()), byES(b), time.Minute},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.o.CacheFor = c.keep
			d := newDesk(b, c.o)
			req := request(c.token)
			got := make(chan auth.Result, 1)
			b.ReportAllocs()
			for b.Loop() {
				d.Authenticate(req, func(r auth.Result) { got <- r })
				<-got
			}
		})
	}
}
