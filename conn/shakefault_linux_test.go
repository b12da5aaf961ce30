package conn

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A bug that one client's handshake sets off is the end of that handshake: its place and its
// turn to compute are given back, and the others are served.
func TestABugInAHandshakeEndsItAlone(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	good := r.real.tls
	r.server.listeners[0].TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "bug" {
			panic("a bug")
		}
		return nil, nil
	}
	r.server.Each(func(time.Time, *broker.Home) {}) // every loop knows
	check := r.bystander()
	for range 8 { // more than there are processors
		nc := tls.Client(r.bare(), &tls.Config{ServerName: "bug", RootCAs: good.RootCAs})
		if err := nc.Handshake(); err == nil {
			t.Error("it was let in")
		}
		_ = nc.Close()
	}
	r.becomes("bugs caught", 8, r.counted(metrics.FaultsRecovered))
	r.becomes("connections", 1, r.connections)
	r.becomes("handshakes", 0, r.counted(metrics.Handshakes))
	if n := r.server.listeners[0].Door.Computing(); n != 0 {
		t.Errorf("%d turns were not given back", n)
	}
	r.connect(mqtt.V5, "alice/next").silent()
	check()
	r.ended = true // the rig holds that no bug is caught
	r.server.Shutdown(context.Background())
}
