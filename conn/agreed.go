package conn

import (
	"crypto/tls"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/metrics"
)

// Agreed is what a handshake has agreed on, in the names of the IANA registries: what an
// operator wants to know before something is taken away. The zero value: no TLS.
type Agreed struct {
	Version string // TLS 1.3
	Suite   string // TLS_AES_128_GCM_SHA256
	Group   string // X25519MLKEM768; empty where none was needed
	Resumed bool
}

func agreed(s tls.ConnectionState) Agreed {
	a := Agreed{Version: tls.VersionName(s.Version), Suite: tls.CipherSuiteName(s.CipherSuite), Resumed: s.DidResume}
	if s.CurveID != 0 {
		a.Group = s.CurveID.String()
	}
	return a
}

// count counts a handshake in its series. What has none is counted with the last one.
func (a Agreed) count(to *metrics.Shard) {
	for _, x := range []struct {
		names []string
		name  string
		ids   metrics.Range
	}{
		{metrics.TLSVersionNames, strings.TrimPrefix(a.Version, "TLS "), metrics.TLSVersions},
		{metrics.TLSSuiteNames, a.Suite, metrics.TLSSuites},
		{metrics.TLSGroupNames, a.Group, metrics.TLSGroups},
	} {
		i := slices.Index(x.names, x.name)
		if i < 0 {
			i = len(x.names)
		}
		to.Inc(x.ids.At(i))
	}
}
