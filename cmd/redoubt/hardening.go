package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/harden"
)

// judgeItself makes what judges the hardening of the broker while it runs.
func (n *node) judgeItself() {
	n.opened = make(chan struct{})
	n.hardening = harden.NewBackground(harden.BackgroundOptions{Clock: n.clock, Log: n.log, Alarms: n.alarms, Checker: version, Env: func() *harden.Env {
		loaded := n.loaded.Load()
		return &harden.Env{Clock: n.clock, Config: loaded.Config, File: loaded.File, Place: loaded.Place, Broker: myself{n: n}}
	}})
	n.hardening.Measure(n.metrics)
	n.hardening.Changed(n.loaded.Load().Config)
}

// myself is the broker as it judges itself: what it holds, without a socket in between. It makes
// no users and denies nobody; the rows that want that are redoubt doctor's.
type myself struct {
	harden.Broker // nil: nothing else is asked of it
	n             *node
}

// Report implements harden.Broker.
func (m myself) Report(context.Context) (harden.BrokerReport, error) {
	if !m.n.ready.Load() {
		return harden.BrokerReport{}, errors.New("the broker is not ready")
	}
	s, l, all := m.n.Status(), m.n.Limits(), m.n.Settings()
	r, err := brokerReport(&s, &l, &all)
	r.PID, r.UID = os.Getpid(), os.Geteuid()
	return r, err
}

// hardeningStatus is what was seen last; nil: nothing yet.
func (n *node) hardeningStatus() *admin.HardeningStatus {
	if n.hardening == nil {
		return nil
	}
	rep, hang := n.hardening.Last(), n.hardening.Hangs()
	if rep == nil && hang == nil {
		return nil
	}
	if rep == nil { // the first look does
		return &admin.HardeningStatus{Hangs: hang.String(), Failed: []string{}, Unknown: []string{}, Untried: []string{}}
	}
	score, counts := rep.Score(), rep.Counts()
	s := &admin.HardeningStatus{Score: score.Points, Cap: score.Cap, At: rep.Started, Rows: len(rep.Rows), Waived: counts[harden.Waived], Warned: counts[harden.Warn], Idle: len(rep.Idle), Failed: []string{}, Unknown: []string{}, Untried: []string{}}
	if hang != nil {
		s.Hangs = hang.String()
	}
	s.Stale = harden.Stale(rep.Started, n.clock.Now())
	if rep.Signed != nil {
		s.Report, s.SHA256 = rep.Signed.Sequence, rep.Signed.SHA256
	}
	for i := range rep.Rows {
		switch row := &rep.Rows[i]; row.State() {
		case harden.Fail:
			s.Failed = append(s.Failed, row.Check.ID)
		case harden.Unknown:
			if row.Untried() {
				s.Untried = append(s.Untried, row.Check.ID)
			} else {
				s.Unknown = append(s.Unknown, row.Check.ID)
			}
		}
	}
	return s
}

// hardeningLine is that for a person.
func hardeningLine(s *admin.HardeningStatus) string {
	if s.Hangs != "" {
		line := "unknown: " + s.Hangs
		if s.Rows > 0 {
			line += fmt.Sprintf("; it was %d/100 at %s", s.Score, s.At.UTC().Format(time.DateTime+" UTC"))
		}
		return line
	}
	line := fmt.Sprintf("%d/100, looked at %s", s.Score, s.At.UTC().Format(time.DateTime+" UTC"))
	if s.Stale {
		line = fmt.Sprintf("stale: nobody has looked since %s, when it was %d/100, and what follows is of then", s.At.UTC().Format(time.DateTime+" UTC"), s.Score)
	}
	for _, part := range []struct {
		word string
		ids  []string
	}{{"fails", s.Failed}, {"unknown", s.Unknown}, {"not tried", s.Untried}} {
		if len(part.ids) > 0 {
			line += "; " + part.word + " " + strings.Join(part.ids, ", ")
		}
	}
	if s.Warned > 0 {
		line += fmt.Sprintf("; %d with a warning", s.Warned)
	}
	if s.Waived > 0 {
		line += fmt.Sprintf("; %d waived", s.Waived)
	}
	switch s.Idle {
	case 0:
	case 1:
		line += "; 1 waiver covers nothing"
	default:
		line += fmt.Sprintf("; %d waivers cover nothing", s.Idle)
	}
	return line + fmt.Sprintf(" (%d rows without probes; redoubt doctor tries all)", s.Rows)
}

// hardeningTopic is the score as $SYS has it; false: there is none yet. One that is stale is no
// score, and the last retained one must not be taken for it.
func hardeningTopic(s *admin.HardeningStatus) (broker.SysTopic, bool) {
	if s == nil {
		return broker.SysTopic{}, false
	}
	value := strconv.Itoa(s.Score)
	if s.Stale {
		value = "stale"
	}
	return broker.SysTopic{Name: "hardening/score", Value: value}, true
}
