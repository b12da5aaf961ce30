package test

import (
	"testing"
	"time"
)

// TestKill9: the broker is killed under load, again and again. Every message
// it has acknowledged reaches every durable subscriber, in the order of its publisher,
// and comes twice at most for what was under way when it died.
func TestKill9(t *testing.T) {
	p := plan{row: "R-01", qos: 1, publishers: 20, subscribers: 20, messages: 50_000, least: 5_000, kills: 10, budget: 10 * time.Second}
	p.run(t).judge()
}

// TestKill9Stored: what was published while every subscriber was away is on the disk,
// and nowhere else after a kill.
func TestKill9Stored(t *testing.T) {
	p := plan{row: "R-01, stored", qos: 1, publishers: 20, subscribers: 20, messages: 10_000, least: 2_000, away: true, budget: 3 * time.Second}
	p.run(t).judge()
}

// TestDurableLoadAlone is the same load without kills: what it reports of kills is
// theirs and not the load's own. Clients that lose their connections come back to a
// broker that has forgotten nothing.
func TestDurableLoadAlone(t *testing.T) {
	for _, p := range []plan{
		{row: "R-01, no fault", qos: 1, publishers: 20, subscribers: 20, messages: 5_000, least: 1_000, budget: 2 * time.Second},
		{row: "R-01, cuts alone", qos: 1, publishers: 20, subscribers: 20, messages: 5_000, least: 1_000, cuts: 40, budget: 2 * time.Second},
		{row: "R-02, cuts alone", qos: 2, publishers: 8, subscribers: 8, messages: 2_000, least: 500, cuts: 40, budget: 2 * time.Second},
	} {
		t.Run(p.row, func(t *testing.T) { p.run(t).judge() })
	}
}
