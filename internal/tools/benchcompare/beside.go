package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redoubtmq/redoubt/client/bench"
)

// account is what the runs beside a measurement came to, one after the other.
type account struct {
	scenario                     string // of them; empty: nothing ran
	connected, messages, packets int64
	closed                       int64 // connections of rogues, by the broker
}

// add takes one run.
func (a *account) add(scenario string, rep *bench.Report) {
	a.scenario = scenario
	if rep == nil {
		return
	}
	a.connected += int64(rep.Connections.Connected)
	if rep.Delivered != nil {
		a.messages += int64(rep.Delivered.Messages)
	}
	if k := rep.Rogue; k != nil {
		a.packets, a.closed = a.packets+k.Packets, a.closed+k.Closed
	}
}

// judge is an error where nothing came of them: latency was measured beside nothing then.
func (a *account) judge() error {
	switch {
	case a.scenario == "":
		return nil
	case a.connected == 0:
		return errors.New("nobody of those beside the measurement was let in: there is nothing to show")
	case a.scenario == string(bench.Sub) && a.messages == 0:
		return errors.New("the subscriber beside the measurement got no message: there is nothing to show")
	case a.scenario == string(bench.Rogue) && a.packets == 0:
		return errors.New("who was to misbehave sent nothing: there is nothing to show")
	}
	return nil
}

// text is for the log.
func (a *account) text() string {
	switch a.scenario {
	case "":
		return ""
	case string(bench.Sub):
		return fmt.Sprintf(", %d messages to %d clients", a.messages, a.connected)
	case string(bench.Rogue):
		return fmt.Sprintf(", %d packets of %d connections, of which the broker closed %d", a.packets, a.connected, a.closed)
	}
	return fmt.Sprintf(", %d connections", a.connected)
}

// beside runs the generator beside the one that measures, and keeps account of it. It has what that
// one leaves of their core, so that whoever measures is not late by it.
func (t *trial) beside(stop <-chan struct{}, d door, args ...string) error {
	g, err := t.begin(t.call(d, args...))
	if err != nil {
		return err
	}
	prefer(g.cmd.Process.Pid, besideNice())
	select {
	case err := <-g.ended:
		rep, err := readReport(g.call, g.out.Bytes(), g.errs.Bytes(), err)
		t.side.add(args[0], rep)
		return t.b.blame(err)
	case <-stop:
		g.stop()
		t.side.add(args[0], cutOff(g.out.Bytes()))
		return nil
	}
}

// cutOff is the report of a run that was ended early, which may have none.
func cutOff(out []byte) *bench.Report {
	var rep bench.Report
	if json.Unmarshal(out, &rep) != nil {
		return nil
	}
	return &rep
}
