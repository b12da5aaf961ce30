package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/redoubtmq/redoubt/client/bench"
)

// measure measures rows of one run: Redoubt, Mosquitto, Redoubt, Mosquitto...
func (l *lab) measure(rs []row) ([]*Row, error) {
	var out []*Row
	for i := range rs {
		out = append(out, rs[i].begin(l.scale))
	}
	for round := range rs[0].rounds(l.rounds) {
		for _, ours := range []bool{true, false} {
			if !ours && (l.peer == "" || out[0].Note != "") {
				continue
			}
			values, busy, err := l.once(rs, out[0].Clients, ours)
			if errors.Is(err, errStopped) {
				return l.judged(out), err
			}
			for i, r := range out {
				s, name := &r.Redoubt, "redoubt"
				if !ours {
					s, name = &r.Mosquitto, "mosquitto"
				}
				if busy.generator > s.Busy {
					s.Busy, s.BrokerBusy = busy.generator, busy.broker
				}
				l.note(r, s, fmt.Sprintf("%-18s round %d  %-9s", r.Name, round+1, name), round, values, i, err)
			}
		}
	}
	return l.judged(out), nil
}

// note takes what one run gave for one row.
func (l *lab) note(r *Row, s *Side, head string, round int, values []float64, i int, err error) {
	var none noPeer
	switch {
	case errors.As(err, &none):
		r.Note = none.Error()
		fmt.Fprintf(l.log, "%s  %s\n", head, r.Note)
		return
	case err == nil && (math.IsNaN(values[i]) || math.IsInf(values[i], 0)):
		err = errors.New("the run gave no figure")
	}
	if err != nil {
		fmt.Fprintf(l.log, "%s  failed: %v\n", head, err)
		s.Failed = append(s.Failed, err.Error())
		return
	}
	s.add(round, values[i])
	fmt.Fprintf(l.log, "%s  %s %s\n", head, figure(values[i]), r.Unit)
}

func (l *lab) judged(rs []*Row) []*Row {
	for _, r := range rs {
		r.judge(l.scale)
	}
	return rs
}

// shares are how much of their cores generator and broker took in a run, where it is known.
type shares struct{ generator, broker float64 }

// once starts a broker, measures rows that are figures of one run, and ends it.
func (l *lab) once(rs []row, clients int, ours bool) (values []float64, busy shares, err error) {
	select {
	case <-l.stop:
		return nil, busy, errStopped
	default:
	}
	r := &rs[0]
	if r.disk && l.inMemory {
		return nil, busy, errInMemory
	}
	if r.run != nil {
		v, err := r.run(l, r, clients, ours)
		return []float64{v}, busy, err
	}
	work := (*lab).load
	if r.try != nil {
		work = r.try
	}
	u, err := work(l, r, clients, ours)
	if err != nil {
		return nil, busy, err
	}
	l.remark(r, u.report, ours)
	if g, b := u.report.Generator, u.report.Broker; g != nil && b != nil {
		busy = shares{g.Busy, b.Busy}
	}
	return figures(rs, u), busy, nil
}

// load is one run of the generator with a broker of its own.
func (l *lab) load(r *row, clients int, ours bool) (*usage, error) {
	b, err := l.startSide(ours, r.setup())
	if err != nil {
		return nil, err
	}
	defer b.end()
	if _, err := l.generate(r.call(b, ours, []string{"conn", "-c", "20"})); err != nil { // first logins, and what is loaded once
		return nil, err
	}
	u := &usage{quiet: b.resident()}
	args := r.args(clients)
	switch {
	case r.timed():
		args = append(args, "--duration", strconv.Itoa(l.seconds))
	case args[0] == "memory":
		args = append(args, settling(ours)...)
	}
	if u.report, err = l.generate(r.call(b, ours, args)); err != nil {
		return nil, err
	}
	if m := u.report.Memory; m != nil && !m.Settled {
		return nil, fmt.Errorf("memory had not settled after %.0f s", m.Waited)
	}
	return u, nil
}

// remark tells in the log what a figure does not.
func (l *lab) remark(r *row, rep *bench.Report, ours bool) {
	side := "mosquitto"
	if ours {
		side = "redoubt"
	}
	if s := rep.Sent; s != nil && s.Stalls > 0 {
		fmt.Fprintf(l.log, "%-18s %-9s the window stalled %d times\n", r.name, side, s.Stalls)
	}
	if f := rep.Flood; f != nil {
		each := "memory was not read"
		if f.Resident != nil {
			each = fmt.Sprintf("%d bytes each", *f.Resident)
		}
		fmt.Fprintf(l.log, "%-18s %-9s %d strangers open when memory was read, %s\n", r.name, side, f.Held, each)
	}
}

// figures are those of rows that are of one run.
func figures(rs []row, u *usage) []float64 {
	var out []float64
	for i := range rs {
		v := rs[i].value(u)
		if v < 0 || v == 0 && !rs[i].zero {
			v = math.NaN()
		}
		out = append(out, v)
	}
	return out
}
