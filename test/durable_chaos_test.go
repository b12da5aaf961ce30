//go:build chaos

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// This file is the part of `make chaos` that kills: the proofs at the
// size that is promised, scaled by time where the machine cannot.

// recoveryMax is how long a start may take, whatever is stored.
const recoveryMax = 5 * time.Second

// TestChaosKill9: a hundred kills under load, fifty within the steps of
// QoS 2, and one of a broker that holds a million messages for sessions that are away.
func TestChaosKill9(t *testing.T) {
	var lines []tally
	for _, p := range []plan{
		{row: "R-01", qos: 1, publishers: 200, subscribers: 200, messages: 1_000_000, least: 250_000, rate: 5_000, kills: 100, flushes: 20, recovery: recoveryMax, budget: 260 * time.Second},
		{row: "R-02", qos: 2, publishers: 100, subscribers: 100, messages: 200_000, least: 50_000, kills: 50, cuts: 10, recovery: recoveryMax, budget: 80 * time.Second},
		{row: "R-01, stored", qos: 1, publishers: 200, subscribers: 200, messages: 1_000_000, least: 250_000, away: true, recovery: recoveryMax, budget: 200 * time.Second},
	} {
		t.Run(p.row, func(t *testing.T) { lines = append(lines, p.run(t).judge()) })
	}
	table := tallyHead
	for _, f := range lines {
		table += "\n" + f.String()
	}
	t.Log("\n" + table)
	root, err := testkit.Root()
	if err == nil {
		err = os.MkdirAll(filepath.Join(root, "var"), 0o755)
	}
	text, _ := json.MarshalIndent(lines, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "var", "chaos-kill9.json"), []byte(strings.TrimSpace(string(text))+"\n"), 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
