package harden

import (
	"context"
	"testing"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// Probes stay under half of the connection rate that the broker allows.
func TestProbesKeepTheConnectionRate(t *testing.T) {
	clk := clock.NewManual(t0)
	e := &Env{Clock: clk, Config: &config.Config{}}
	e.Config.Limits.ConnectRatePerPrefix = map[string]int{"/24": 20, "/56": 500}
	over, cancel := context.WithCancel(t.Context())
	cancel() // so that whoever would wait is told so
	at := func() (n int) {
		for e.pace(over) == nil {
			n++
		}
		return n
	}
	if n := at(); n != 10 {
		t.Errorf("%d at once, want half of the rate", n)
	}
	clk.Advance(e.seen.nextDial.Sub(clk.Now()))
	before := clk.Now()
	for range 20 {
		for e.pace(over) != nil {
			clk.Advance(e.seen.nextDial.Sub(clk.Now()))
		}
	}
	if took := clk.Now().Sub(before).Seconds(); took < 0.9 {
		t.Errorf("20 connections within %v s", took)
	}
	e.Config.Limits.ConnectRatePerPrefix = nil
	if e.pace(over) != nil {
		t.Error("held back without a limit")
	}
}
