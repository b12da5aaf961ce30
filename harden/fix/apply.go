package fix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Apply does a plan. All of it is judged before the first change; the first step that
// fails ends it, and what was done is put back; so it is when check, which is asked
// afterwards whether the broker still serves, answers an error. force changes files that
// somebody else has edited, too. The name of the run is for Rollback.
func (w *World) Apply(ctx context.Context, p *Plan, force bool, check func(context.Context) error) (run string, err error) {
	if len(p.Steps) == 0 {
		return "", nil
	}
	release, err := w.lock()
	if err != nil {
		return "", err
	}
	defer release()
	all, err := w.Runs()
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(all, func(j *Journal) bool { return j.Progress == Applying }); i >= 0 {
		return "", fmt.Errorf("run %s was cut short and has changed a part of what it was to; first: redoubt fix --rollback %s", all[i].Run, all[i].Run)
	}
	if err := w.judge(ctx, p, force); err != nil {
		return "", fmt.Errorf("nothing was changed: %w", err)
	}
	j := &Journal{Schema: journalSchema, Run: newRun(w), Began: w.Clock.Now().UTC(), By: w.UID, Progress: Applying, Steps: slices.Clone(p.Steps)}
	for i := range p.Rows {
		if len(p.Rows[i].Steps) > 0 {
			j.Rows = append(j.Rows, p.Rows[i].ID)
		}
	}
	for i := range j.Steps {
		j.Steps[i].Diff = ""
	}
	if err := w.prune(all); err != nil {
		return "", fmt.Errorf("nothing was changed: %w", err)
	}
	if err := w.keep(j); err != nil {
		return "", fmt.Errorf("nothing was changed: %w", err)
	}
	err = w.do(ctx, j)
	if err == nil && check != nil {
		if err = check(ctx); err != nil {
			err = fmt.Errorf("the broker does not serve as it did: %w", err)
		}
	}
	if err == nil {
		j.Progress = Applied
		return j.Run, w.keep(j)
	}
	if isCrash(err) {
		return j.Run, err
	}
	// What was begun is put back, whoever has lost his patience meanwhile.
	if undo := w.undo(context.WithoutCancel(ctx), j, false, err.Error()); undo != nil {
		return j.Run, fmt.Errorf("%w; and not all could be put back, see redoubt fix --rollback %s: %w", err, j.Run, undo)
	}
	return "", fmt.Errorf("%w; what was changed is put back", err)
}

// do does the steps.
func (w *World) do(ctx context.Context, j *Journal) error {
	for i := range j.Steps {
		s := &j.Steps[i]
		j.Begun = i + 1
		if err := w.keep(j); err != nil {
			return err
		}
		if err := w.reach(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if s.Kind.effect() {
			err = w.perform(ctx, s)
		} else if err = w.put(ctx, s, s.Will); err == nil {
			var now State
			if now, err = w.look(ctx, s); err == nil && !s.same(now, s.Will) {
				err = errors.New("it is not what was written")
			}
		}
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.Words(), err)
		}
		if err := w.reach(); err != nil {
			return err
		}
	}
	return nil
}

// judge refuses what would fail in the middle.
func (w *World) judge(ctx context.Context, p *Plan, force bool) error {
	var faults []error
	for i := range p.Steps {
		s := &p.Steps[i]
		if err := w.judgeStep(ctx, s, force); err != nil {
			faults = append(faults, fmt.Errorf("step %d, %s: %w", i+1, s.Words(), err))
		}
	}
	return errors.Join(faults...)
}

var errRoot = errors.New("this takes root; run it with sudo, or name rows that do without")

func (w *World) judgeStep(ctx context.Context, s *Step, force bool) error {
	root := w.UID == 0
	switch {
	case s.Foreign != "" && !force:
		return fmt.Errorf("%s; look at the difference, and --force keeps its lines and adds ours", s.Foreign)
	case s.Kind == File && ourFile(s.Name) && !root && w.Root == "",
		s.Kind == Sysctl && !root, s.Kind == Table && !root, s.Kind == Units && !root:
		return errRoot
	case s.Kind == Mode && !root && (s.Was.UID != w.UID || s.Will.UID != w.UID):
		return errRoot
	case (s.Kind == Setting || s.Kind == Reload || s.Kind == Listener) && w.Broker == nil:
		return errors.New("the broker does not answer")
	}
	now, err := w.look(ctx, s)
	if err != nil && s.Kind == Table && !root {
		return errRoot
	}
	if err != nil {
		return err
	}
	if !s.Kind.effect() && !s.same(now, s.Was) {
		return errors.New("it has changed since the plan was made; make another")
	}
	switch s.Kind {
	case Table:
		if _, err := w.run(ctx, s.Will.Content, "nft", "-c", "-f", "-"); err != nil {
			return err
		}
		s.Was = now
	case Sysctl:
		path, err := w.sysctlPath(s.Name)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // writes nothing
		if err != nil {
			return err
		}
		return f.Close()
	case Units:
		if _, err := w.run(ctx, nil, "systemctl", "--version"); err != nil {
			return err
		}
	}
	return nil
}

// Words name a step in one line.
func (s *Step) Words() string {
	switch s.Kind {
	case File, Mode:
		return s.Name
	case Limit:
		return fmt.Sprintf("limit %s of process %d", s.Name, s.PID)
	case Table:
		return "table inet redoubt of nftables"
	case Units:
		return "systemctl daemon-reload"
	case Reload:
		return "reload of the broker"
	case Listener:
		return "sockets of listener " + s.Name
	}
	return strings.TrimSpace(string(s.Kind) + " " + s.Name)
}
