package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// doctorWatchMin is how often the doctor may look: probes are clients, and a broker has
// others to serve.
const doctorWatchMin = 30 * time.Second

// doctorRun is redoubt doctor with its flags understood.
type doctorRun struct {
	g        *globals
	f        *doctorFlags
	checks   []*harden.Check
	format   harden.Format
	baseline harden.Baseline
	dataDir  string // of the last examination
}

// newDoctorRun reads the flags about the report.
func newDoctorRun(g *globals, f *doctorFlags, checks []*harden.Check) (*doctorRun, error) {
	d := &doctorRun{g: g, f: f, checks: checks}
	var err error
	if d.format, err = harden.ParseFormat(f.output); err != nil {
		return nil, fmt.Errorf("--output %w", err)
	}
	if d.baseline, err = harden.ParseBaseline(f.baseline); err != nil {
		return nil, fmt.Errorf("--baseline %w", err)
	}
	changes := f.diff != "" || f.watch != 0
	switch {
	case changes && d.format != harden.FormatTable && d.format != harden.FormatJSON:
		return nil, fmt.Errorf("--output %s: what has changed is shown as a table or as json", d.format)
	case f.diff != "" && f.watch != 0:
		return nil, errors.New("--watch shows what changes from now on; it goes without --diff")
	case f.watch != 0 && f.watch < doctorWatchMin:
		return nil, fmt.Errorf("--watch %v: %v is the shortest", f.watch, doctorWatchMin)
	}
	return d, nil
}

// examine is one run: the configuration is read and the broker is asked anew.
func (d *doctorRun) examine(ctx context.Context) (*harden.Report, error) {
	loaded, err := d.g.LookConfig()
	if err != nil {
		return nil, err
	}
	d.dataDir = loaded.Config.Node.DataDir
	e := &harden.Env{Clock: clock.System{}, Config: loaded.Config, File: loaded.File, Baseline: d.baseline, Place: loaded.Place, DenyGood: d.f.denyGood, Targets: d.f.targets}
	if err := errors.Join(clientPair(d.f.good, &e.GoodCert), clientPair(d.f.revoked, &e.RevokedCert)); err != nil {
		return nil, err
	}
	if e.Outside, err = seenOutside(d.f.outside); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.f.within)
	defer cancel()
	client := admin.NewClient(loaded.Config.Admin.Socket)
	var unreachable *admin.UnreachableError
	switch _, err := client.Status(ctx); {
	case err == nil:
		e.Broker = patient{client}
	case errors.As(err, &unreachable) && unreachable.Offline():
		e.NoBroker = err.Error()
	default:
		return nil, err
	}
	return harden.Examine(ctx, e, d.checks), nil
}

// once looks, and ends with the verdict.
func (d *doctorRun) once(cmd *cobra.Command) error {
	var then harden.Snapshot
	var err error
	if d.f.diff != "" && d.f.diff != "last" {
		if then, err = harden.ReadSnapshotFile(d.f.diff); err != nil {
			return doctorError{fmt.Errorf("--diff: %w", err)}
		}
	}
	report, err := d.examine(cmd.Context())
	if err != nil {
		return doctorError{err}
	}
	if d.f.diff == "last" {
		then, err = harden.LastKept(d.dataDir)
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("no report is kept yet; a run over all rows of a running broker is, and --diff FILE takes one of -o json")
		}
		if err != nil {
			d.keep(cmd, report, d.sign(cmd, report)) // so that there is one the next time
			return doctorError{fmt.Errorf("--diff last: %w", err)}
		}
	}
	out := cmd.OutOrStdout()
	text := d.sign(cmd, report)
	switch {
	case d.f.diff == "" && d.format == harden.FormatJSON && text != nil:
		_, err = out.Write(text)
	case d.f.diff == "":
		folder, _ := os.Getwd() // without it paths stay as they are
		err = report.Write(out, d.format, harden.WriteOptions{Checker: version, Evidence: d.f.evidence, Folder: folder})
	case d.format == harden.FormatJSON:
		err = report.WriteChangesJSON(out, then)
	default:
		err = report.WriteChanges(out, then)
	}
	if err != nil {
		return doctorError{err}
	}
	d.keep(cmd, report, text)
	return d.verdict(report)
}

// whole tells whether the report is of all rows of a running broker.
func (d *doctorRun) whole(report *harden.Report) bool {
	return len(d.f.only) == 0 && report.Node != ""
}

// sign makes the report of a running broker the next one in the chain of its node, and answers it as
// JSON; nil: it is not signed. A part of the rows is only where it is written as JSON. That
// it cannot be signed is said, and is no reason for another verdict.
func (d *doctorRun) sign(cmd *cobra.Command, report *harden.Report) []byte {
	if report.Node == "" || !d.whole(report) && (d.format != harden.FormatJSON || d.f.diff != "" || d.f.watch != 0) {
		return nil
	}
	text, err := report.KeepSigned(d.dataDir, version, true)
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "redoubt: the report is not signed:", plain(err.Error()))
		return nil
	}
	return text
}

// keep leaves a whole report of a running broker for the next run, signed or not.
func (d *doctorRun) keep(cmd *cobra.Command, report *harden.Report, text []byte) {
	if !d.whole(report) {
		return
	}
	var err error
	if text == nil {
		var b bytes.Buffer
		err = report.WriteJSON(&b, version)
		text = b.Bytes()
	}
	if err == nil {
		err = harden.KeepLast(d.dataDir, text)
	}
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "redoubt: the report is not kept for --diff last:", plain(err.Error()))
	}
}

func (d *doctorRun) verdict(report *harden.Report) error {
	if code := report.ExitCode(harden.Severity(d.f.failOn), d.f.maxUnknown); code != harden.ExitClean {
		return doctorVerdict(code)
	}
	return nil
}

// keepLooking looks until a signal, and ends with the verdict of the last run.
func (d *doctorRun) keepLooking(cmd *cobra.Command) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := cmd.OutOrStdout()
	var last *harden.Report
	tick := time.NewTicker(d.f.watch)
	defer tick.Stop()
	for {
		report, err := d.examine(ctx)
		switch {
		case ctx.Err() != nil: // what was broken off is no verdict
		case err != nil && last == nil:
			return doctorError{err}
		case err != nil: // a configuration that is being edited, for instance
			fmt.Fprintln(cmd.ErrOrStderr(), "redoubt:", plain(err.Error()))
		default:
			if err := d.show(out, report, last); err != nil {
				return doctorError{err}
			}
			d.keep(cmd, report, d.sign(cmd, report))
			last = report
		}
		select {
		case <-ctx.Done():
			if last == nil { // nothing was judged, which is no verdict
				return doctorError{errors.New("ended before the first look was over")}
			}
			return d.verdict(last)
		case <-tick.C:
		}
	}
}

// show writes the first report whole, and of later ones what has changed. As JSON each is
// a line, and in the first one everything is new.
func (d *doctorRun) show(out io.Writer, report, last *harden.Report) error {
	if last == nil {
		if d.format == harden.FormatJSON {
			return report.WriteChangesJSON(out, report.Before())
		}
		return report.Write(out, d.format, harden.WriteOptions{Checker: version, Evidence: d.f.evidence})
	}
	then := last.Snapshot()
	if d.format == harden.FormatJSON {
		if len(harden.Diff(then, report.Snapshot())) == 0 {
			return nil
		}
		return report.WriteChangesJSON(out, then)
	}
	return report.WriteChangesSince(out, then)
}
