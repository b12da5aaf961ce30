package main

// bestPeers is where the best of FlashMQ 1.26, Mosquitto 2.1.2 and NATS 2.15 stood in a row, as a
// ratio to Mosquitto 2.0.11. They were built from source and measured once, on one core, by another
// generator: `make bench` does not repeat that. A row that is not here was not measured with them.
var bestPeers = map[string]float64{
	"idle-tcp":     1.0,
	"idle-tls":     1.0,
	"idle-mtls":    1.0,
	"p2p-q0":       .28,
	"p2p-q1":       .23,
	"p2p-q2":       .12,
	"fanout-q0":    .32,
	"fanout-q1":    .35,
	"fanin-q1":     .12,
	"share-q1":     .29,
	"p2p-tls":      .29,
	"wildcard":     .19,
	"sub-wildcard": .6,
	"retained":     .57,
	"retained-cpu": .7,
	"connect-tls":  .89,
	"durable":      1.1, // without fsync
	"latency-p99":  .8,
}

// byBestPeer is Redoubt's figure by that of the best peer; nil: it has none.
func (r *Row) byBestPeer() *float64 {
	if r.Ratio == nil || r.BestPeer == 0 {
		return nil
	}
	x := *r.Ratio / r.BestPeer
	return &x
}
