package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/harden/fix"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/datadir"
)

// fixRun is one redoubt fix.
type fixRun struct {
	cmd    *cobra.Command
	g      *globals
	f      *fixFlags
	loaded *config.Loaded
	client *admin.Client // nil: no broker answers
	why    string        // nobody does
	pid    int           // of the broker
	world  *fix.World
}

// newFixRun reads the configuration and looks whether a broker answers.
func newFixRun(cmd *cobra.Command, g *globals, f *fixFlags) (*fixRun, error) {
	loaded, err := g.LoadConfig()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(loaded.Config.Node.DataDir)
	if err != nil {
		return nil, err
	}
	r := &fixRun{cmd: cmd, g: g, f: f, loaded: loaded}
	r.world = &fix.World{Root: f.root, Clock: clock.System{}, UID: os.Geteuid(), GID: os.Getegid(), Owner: os.Geteuid(), DataDir: dir}
	if f.root == "" {
		_, err := os.Stat("/run/systemd/system") // as sd_booted(3) does
		r.world.Direct = err == nil
	} else if r.world.Root, err = filepath.Abs(f.root); err != nil {
		return nil, err
	}
	client := admin.NewClient(loaded.Config.Admin.Socket)
	var unreachable *admin.UnreachableError
	switch _, err := client.Status(cmd.Context()); {
	case err == nil:
		r.client, r.world.Broker = client, fixed{client}
		if r.pid, r.world.Owner, err = client.Process(cmd.Context()); err != nil {
			return nil, err
		}
	case errors.As(err, &unreachable) && unreachable.Offline():
		r.why = err.Error()
		if fi, err := os.Stat(dir); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				r.world.Owner = int(st.Uid)
			}
		}
	default:
		return nil, err
	}
	return r, nil
}

// env is what checks look at, anew for each look.
func (r *fixRun) env() *harden.Env {
	e := &harden.Env{Clock: clock.System{}, Config: r.loaded.Config, File: r.loaded.File, Place: r.loaded.Place, NoBroker: r.why}
	if r.client != nil {
		e.Broker = patient{r.client}
	}
	return e
}

// look is a run of the doctor over some rows.
func (r *fixRun) look(ctx context.Context, checks []*harden.Check) *harden.Report {
	ctx, cancel := context.WithTimeout(ctx, r.f.within)
	defer cancel()
	e := r.env()
	rep := harden.Examine(ctx, e, checks)
	if r.client == nil {
		harden.Offline(e, rep)
	}
	return rep
}

// openBefore are the rows that were open in the last report that was kept.
func (r *fixRun) openBefore() ([]*harden.Check, error) {
	last, err := harden.LastKept(r.loaded.Config.Node.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("no report is kept yet; redoubt doctor over all rows of a running broker leaves one")
	}
	if err != nil {
		return nil, err
	}
	var out []*harden.Check
	for _, c := range harden.Checks {
		if last.Open(c.Name()) {
			out = append(out, c)
		}
	}
	return out, nil
}

// fix makes a plan, and does with it what was asked for.
func (r *fixRun) fix(checks []*harden.Check, clients []netip.Prefix) error {
	ctx := r.cmd.Context()
	if err := os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true"); err != nil {
		return doctorError{err}
	}
	o := &fix.Order{
		Report: r.look(ctx, checks), Named: !r.f.all, Firewall: r.f.firewall, Clients: clients, Loaded: r.loaded, Judge: r.judge, PID: r.pid,
		Ports: func() ([]harden.Port, bool, error) { return harden.Ports(ctx, r.env()) },
	}
	if r.loaded.File != "" {
		abs, err := filepath.Abs(r.loaded.File)
		if err != nil {
			return doctorError{err}
		}
		o.File = abs
	}
	if r.pid > 0 {
		o.Unit, o.ByHand = harden.Supervision(r.env(), r.pid)
	}
	o.Systemd = r.world.Direct || r.f.writeDir != "" || r.hasUnit()
	plan, err := fix.Make(ctx, r.world, o)
	if err != nil {
		return doctorError{err}
	}
	plan.Why = r.why
	switch {
	case r.f.writeDir != "":
		return r.write(plan)
	case r.f.apply:
		return r.apply(plan, checks)
	}
	return r.show(plan)
}

// hasUnit tells whether the unit of the package is installed on the host.
func (r *fixRun) hasUnit() bool {
	for _, dir := range []string{"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join("/", r.world.Root, dir, "redoubt.service")); err == nil {
			return true
		}
	}
	return false
}

// judge loads a text as the broker would load it from its file.
func (r *fixRun) judge(text string) error {
	opts := r.g.loadOptions()
	opts.File = r.loaded.File
	_, err := config.LoadText(opts, text)
	return err
}

// again is the command line of this one with another flag.
func (r *fixRun) again(args ...string) string {
	words := []string{self(r.g), "fix"}
	for _, id := range r.cmd.Flags().Args() {
		words = append(words, datadir.Quote(id))
	}
	if r.f.all {
		words = append(words, "--all")
	}
	if r.f.firewall {
		words = append(words, "--firewall")
	}
	if len(r.f.clients) > 0 {
		words = append(words, "--clients", datadir.Quote(strings.Join(r.f.clients, ",")))
	}
	if r.f.root != "" {
		words = append(words, "--root", datadir.Quote(r.f.root))
	}
	return strings.Join(append(words, args...), " ")
}

// command is how this broker is spoken to from any folder.
func (r *fixRun) command() string {
	out := "redoubt"
	for _, f := range []struct{ flag, path string }{{"--config", r.g.ConfigFile}, {"--data-dir", r.g.DataDir}} {
		if abs, err := filepath.Abs(f.path); f.path != "" && err == nil {
			out += " " + f.flag + " " + datadir.Quote(abs)
		}
	}
	return out
}

// back is the command line that takes a run back.
func (r *fixRun) back(run string) string {
	out := self(r.g) + " fix --rollback " + run
	if r.f.root != "" {
		out += " --root " + datadir.Quote(r.f.root)
	}
	return out
}

// verdict is the exit code of a plan. open: something is left to do.
func verdict(plan *fix.Plan, open bool) error {
	switch {
	case open:
		return doctorVerdict(harden.ExitFindings)
	case plan.Unseen():
		return doctorVerdict(harden.ExitUnknown)
	}
	return nil
}

func (r *fixRun) show(plan *fix.Plan) error {
	out := r.cmd.OutOrStdout()
	if r.g.Output == "json" {
		if err := writeConfigJSON(out, planJSON{Plan: plan, Apply: r.again("--apply"), Rollback: r.back("last")}); err != nil {
			return err
		}
		return verdict(plan, plan.Open())
	}
	if err := plan.WriteText(out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s\n", plan.Summary())
	if len(plan.Steps) > 0 {
		force := ""
		if len(plan.Foreign()) > 0 {
			force = " --force"
		}
		fmt.Fprintf(out, "nothing is changed yet; to do it: %s\n", r.again("--apply"+force))
	}
	return verdict(plan, plan.Open())
}

// planJSON is a plan for programs.
type planJSON struct {
	*fix.Plan
	Apply    string `json:"apply"`
	Rollback string `json:"rollback"`
}

func (r *fixRun) write(plan *fix.Plan) error {
	plan.Command = r.command()
	files, err := plan.WriteDir(r.f.writeDir)
	if err != nil {
		return doctorError{err}
	}
	out := r.cmd.OutOrStdout()
	if r.g.Output == "json" {
		if err := writeConfigJSON(out, map[string]any{"files": files, "plan": plan}); err != nil {
			return err
		}
		return verdict(plan, plan.Open())
	}
	for _, f := range files {
		fmt.Fprintln(out, plain(f))
	}
	fmt.Fprintf(out, "%s; read %s, then run apply.sh beside it as root\n", plan.Summary(), plain(filepath.Join(r.f.writeDir, "README.md")))
	return verdict(plan, plan.Open())
}

// applied is what came of --apply, for programs.
type applied struct {
	*fix.Plan
	Run      string        `json:"run"` // empty: there was nothing to do
	Rollback string        `json:"rollback,omitempty"`
	Outcomes []fix.Outcome `json:"outcomes"`
}

// apply does the plan, and looks at its rows again.
func (r *fixRun) apply(plan *fix.Plan, checks []*harden.Check) error {
	ctx, out := r.cmd.Context(), r.cmd.OutOrStdout()
	text := r.g.Output != "json"
	if text {
		if err := plan.WriteText(out); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	before, err := r.serving(ctx)
	if err != nil {
		return doctorError{fmt.Errorf("nothing was changed: whether clients get in cannot be tried: %w", err)}
	}
	run, err := r.world.Apply(ctx, plan, r.f.force, func(ctx context.Context) error { return r.stillServing(ctx, before) })
	if err != nil {
		return err // exit code 1: it could not be mended
	}
	var touched []*harden.Check
	for _, c := range checks {
		if slices.ContainsFunc(plan.Rows, func(x fix.Row) bool { return x.ID == c.Name() && len(x.Steps) > 0 }) {
			touched = append(touched, c)
		}
	}
	a := applied{Plan: plan, Run: run, Outcomes: []fix.Outcome{}}
	if len(touched) > 0 {
		if r.loaded, err = r.g.LoadConfig(); err != nil { // it may be another one now
			return doctorError{err}
		}
		a.Outcomes, a.Rollback = plan.Outcomes(r.look(ctx, touched)), r.back(run)
	}
	open := plan.Open() || slices.ContainsFunc(a.Outcomes, func(o fix.Outcome) bool { return o.Open() })
	if !text {
		if err := writeConfigJSON(out, a); err != nil {
			return err
		}
		return verdict(plan, open)
	}
	r.told(&a)
	return verdict(plan, open)
}

// told says what came of it.
func (r *fixRun) told(a *applied) {
	out := r.cmd.OutOrStdout()
	if a.Run == "" {
		fmt.Fprintln(out, a.Summary())
		return
	}
	fmt.Fprintf(out, "done: %s. To take it back: %s\n", a.Summary(), a.Rollback)
	for _, o := range a.Outcomes {
		fmt.Fprintf(out, "%s  %s -> %s", o.ID, o.Before, o.After)
		if o.Restart {
			fmt.Fprint(out, "  (a part of it counts when the broker starts again)")
		}
		if o.Summary != "" {
			fmt.Fprintf(out, "  %s", plain(o.Summary))
		}
		fmt.Fprintln(out)
	}
	if a.Restarts() {
		fmt.Fprintln(out, "when it suits your clients: systemctl restart redoubt")
	}
}

func (r *fixRun) rollback(run string) error {
	ctx := r.cmd.Context()
	j, err := r.world.Rollback(ctx, run, r.f.force)
	if err != nil {
		return err
	}
	out := r.cmd.OutOrStdout()
	if r.g.Output == "json" {
		return writeConfigJSON(out, map[string]any{"run": j.Run, "rows": j.Rows, "progress": j.Progress})
	}
	fmt.Fprintf(out, "run %s is rolled back: %s\n", j.Run, strings.Join(j.Rows, ", "))
	for i := range slices.Backward(j.Steps[:j.Begun]) {
		fmt.Fprintf(out, "  as before: %s\n", plain(j.Steps[i].Words()))
	}
	return nil
}

func (r *fixRun) list() error {
	all, err := r.world.Runs()
	if err != nil {
		return doctorError{err}
	}
	out := r.cmd.OutOrStdout()
	if r.g.Output == "json" {
		list := []map[string]any{}
		for _, j := range all {
			list = append(list, map[string]any{"run": j.Run, "began": j.Began, "by": j.By, "progress": j.Progress, "why": j.Why, "rows": j.Rows, "steps": len(j.Steps)})
		}
		return writeConfigJSON(out, list)
	}
	if len(all) == 0 {
		fmt.Fprintln(out, "nothing was applied here")
	}
	for _, j := range all {
		progress := j.Progress
		if progress == fix.Applying {
			progress = "cut short: take it back with --rollback " + j.Run
		}
		fmt.Fprintf(out, "%s  %s  %s\n", j.Run, progress, strings.Join(j.Rows, ", "))
	}
	return nil
}

// servingWithin is how long clients may be without an entrance after a change.
const servingWithin = 10 * time.Second

// serving is where clients get in, by listener; nil without a broker.
func (r *fixRun) serving(ctx context.Context) (map[string]bool, error) {
	if r.client == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.f.within)
	defer cancel()
	all, err := harden.Serving(ctx, r.env())
	in := map[string]bool{}
	for _, x := range all {
		in[x.Listener] = in[x.Listener] || x.In
	}
	return in, err
}

// stillServing tries whether clients get in where they did, and whether it is the same
// process that lets them in.
func (r *fixRun) stillServing(ctx context.Context, before map[string]bool) error {
	if r.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, servingWithin)
	defer cancel()
	pause := time.NewTicker(250 * time.Millisecond)
	defer pause.Stop()
	for {
		err := r.tryServing(ctx, before)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-pause.C:
		}
	}
}

func (r *fixRun) tryServing(ctx context.Context, before map[string]bool) error {
	pid, _, err := r.client.Process(ctx)
	if err != nil {
		return err
	}
	if pid != r.pid {
		return fmt.Errorf("process %d has ended, and %d answers", r.pid, pid)
	}
	now, err := r.serving(ctx)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(before) {
		if before[name] && !now[name] {
			return fmt.Errorf("nobody gets in at listener %s any more", name)
		}
	}
	return nil
}

// fixed is the running broker as steps see it.
type fixed struct{ client *admin.Client }

// RunTime implements fix.Broker.
func (b fixed) RunTime(ctx context.Context, key string) (value string, ok bool, err error) {
	all, err := b.client.Settings(ctx)
	if err != nil {
		return "", false, err
	}
	for i := range all.Data {
		s := &all.Data[i]
		switch {
		case s.Key != key:
		case s.Pending != nil:
			return *s.Pending, true, nil
		case strings.HasPrefix(s.Origin, "set at run time"):
			return s.Text, true, nil
		}
	}
	for i := range all.NotInForce {
		if s := &all.NotInForce[i]; s.Key == key && !s.Pinned {
			return s.Value, true, nil
		}
	}
	return "", false, nil
}

// Set implements fix.Broker.
func (b fixed) Set(ctx context.Context, key, value string) error {
	_, err := b.client.SetSetting(ctx, key, value)
	return err
}

// Unset implements fix.Broker.
func (b fixed) Unset(ctx context.Context, key string) error {
	_, err := b.client.UnsetSetting(ctx, key)
	return err
}

// Reload implements fix.Broker.
func (b fixed) Reload(ctx context.Context) error {
	_, err := b.client.Reload(ctx)
	return err
}

// Reopen implements fix.Broker.
func (b fixed) Reopen(ctx context.Context, listener string) error {
	_, err := b.client.RestartListener(ctx, listener, false)
	return err
}
