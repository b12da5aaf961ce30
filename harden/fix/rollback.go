package fix

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Rollback puts back what was there before a run: contents, modes, owners, what was not
// there, and values that were live. last is the newest run that was not rolled back. A run
// that was cut short is put back as far as it got. What somebody has changed since is an
// error before anything is changed, unless force says that it does not matter.
func (w *World) Rollback(ctx context.Context, run string, force bool) (*Journal, error) {
	release, err := w.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	j, err := w.find(run)
	if err != nil {
		return nil, err
	}
	if j.Progress == Undone {
		return j, fmt.Errorf("run %s was rolled back already", j.Run)
	}
	if err := w.undo(ctx, j, force, ""); err != nil {
		return j, err
	}
	return j, nil
}

func (w *World) find(run string) (*Journal, error) {
	if run != "last" && run != "" {
		return w.read(run)
	}
	all, err := w.Runs()
	if err != nil {
		return nil, err
	}
	for _, j := range all {
		if j.Progress != Undone {
			return j, nil
		}
	}
	return nil, fmt.Errorf("there is no run to roll back in %s", w.journalFolder())
}

// undo takes steps back, the last one first, and then makes that count. A step that was
// not done, or that is put back already, is passed over: this may be the second attempt.
func (w *World) undo(ctx context.Context, j *Journal, force bool, why string) error {
	begun := j.Steps[:j.Begun]
	var faults []error
	for i := range begun {
		s := &begun[i]
		if s.Kind.effect() || force {
			continue
		}
		now, err := w.look(ctx, s)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.Words(), err))
		} else if !s.ours(now) && !(s.Kind == Limit && now.Absent) {
			faults = append(faults, fmt.Errorf("%s has been changed since by somebody else; --force puts back what was before the run all the same", s.Words()))
		}
	}
	if err := errors.Join(faults...); err != nil && why == "" {
		return fmt.Errorf("nothing was put back: %w", err)
	}
	faults = nil
	back := func(modes bool) error {
		for i := range slices.Backward(begun) {
			s := &begun[i]
			if s.Kind.effect() || (s.Kind == Mode) != modes {
				continue
			}
			if err := w.takeBack(ctx, s); isCrash(err) {
				return err
			} else if err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", s.Words(), err))
			}
		}
		return nil
	}
	if err := back(false); err != nil {
		return err
	}
	var deaf []error // what was put back and does not count yet
	for i := range begun {
		s := &begun[i]
		if !s.Kind.effect() || s.Kind != Units && w.Broker == nil { // a broker that is not there reads all of it when it starts
			continue
		}
		if err := w.perform(ctx, s); err != nil {
			deaf = append(deaf, fmt.Errorf("%s: %w", s.Words(), err))
		}
	}
	if err := back(true); err != nil { // last: a broker does not reload with a key that is open
		return err
	}
	if err := errors.Join(faults...); err != nil {
		return errors.Join(append(faults, deaf...)...)
	}
	j.Progress, j.Why = Undone, why
	if err := w.keep(j); err != nil {
		return err
	}
	if err := errors.Join(deaf...); err != nil {
		return fmt.Errorf("all of it is put back, and not all of it counts yet: %w", err)
	}
	return nil
}

func (w *World) takeBack(ctx context.Context, s *Step) error {
	now, err := w.look(ctx, s)
	if err != nil {
		return err
	}
	if err := w.reach(); err != nil {
		return err
	}
	if s.Kind == Limit && now.Absent {
		return nil
	}
	if s.Kind == File {
		t, err := w.treeOf(s)
		if err != nil {
			return err
		}
		err = t.sweep(s.Name)
		t.close()
		if err != nil {
			return err
		}
	}
	if !s.same(now, s.Was) || s.Kind == File && s.Was.Absent { // folders may have been made already
		if err := w.put(ctx, s, s.Was); err != nil {
			return err
		}
	}
	now, err = w.look(ctx, s)
	if err == nil && !s.same(now, s.Was) {
		err = errors.New("it is not what it was")
	}
	if err != nil {
		return err
	}
	return w.reach()
}
