package fix

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/harden"
)

// setting gives a key another value: at run time where nobody has pinned it, and in the
// file where it stands there or belongs there.
func (m *maker) setting(w harden.Want) {
	at := m.Loaded.Origin(w.Name)
	if at.Kind == config.FromEnv || at.Kind == config.FromFlag {
		m.manual("%s is set by %s, which comes first: change it to %s there and start the broker again", w.Name, at, w.Value)
		return
	}
	if m.w.Broker != nil && m.Loaded.Settable(w.Name) == nil {
		m.runTime(w)
		return
	}
	if m.File == "" {
		m.manual("there is no configuration file to write %s into: %s", w.Name, snippet(w.Name, w.Value))
		return
	}
	if slices.ContainsFunc(m.edits, func(e edited) bool { return e.key == w.Name && e.row == m.id() }) {
		return
	}
	if err := m.edit(w); err != nil {
		m.manual("%s: set it in %s by hand, it is not done by itself: %v", w.Name, m.File, err)
	}
}

// runTime sets a key through the layer of run time, judged by the same loader before.
func (m *maker) runTime(w harden.Want) {
	for i := range m.steps {
		if s := &m.steps[i]; s.Kind == Setting && s.Name == w.Name {
			s.Rows = addRow(s.Rows, m.id())
			return
		}
	}
	now, ok, err := m.w.Broker.RunTime(m.ctx, w.Name)
	if err != nil {
		m.manual("redoubt config set %s %s (%v)", w.Name, w.Value, err)
		return
	}
	with, err := m.Loaded.With([]config.Kept{{Key: w.Name, Value: w.Value, At: m.w.Clock.Now()}}, nil)
	if err == nil && len(with.Idle()) > 0 {
		err = errors.New(with.Idle()[0].Why)
	}
	if err != nil {
		m.manual("%s: %s is refused: %v", w.Name, w.Value, err)
		return
	}
	s := Step{Kind: Setting, Name: w.Name, Rows: []string{m.id()}, From: "not set at run time", To: w.Value, Restart: "none", Cuts: w.Cuts,
		Was: State{Absent: !ok, Value: now}, Will: State{Value: w.Value}}
	if ok {
		s.From = now
	}
	if m.Loaded.NeedsRestart(w.Name) {
		s.Restart = "broker"
	}
	m.steps = append(m.steps, s)
}

// edit changes the file of the configuration.
func (m *maker) edit(w harden.Want) error {
	if len(m.edits) == 0 {
		t, err := m.w.own()
		if err != nil {
			return err
		}
		m.was, err = t.look(m.File)
		t.close()
		if err != nil {
			return err
		}
		if m.was.Absent {
			return errors.New("it is not there any more")
		}
		m.text = string(m.was.Content)
	}
	text, err := setYAML(m.text, w.Name, w.Value)
	if err != nil {
		return err
	}
	if err := m.Judge(text); err != nil {
		return fmt.Errorf("the configuration would be refused: %w", err)
	}
	m.text = text
	m.edits = append(m.edits, edited{w.Name, m.id(), w.Cuts})
	return nil
}

// snippet is a key as it stands in a file.
func snippet(key, value string) string {
	names := strings.Split(key, ".")
	return strings.Join(names, ": {") + ": " + value + strings.Repeat("}", len(names)-1)
}

// settle turns what was collected into steps, in the order in which they are done: what is
// read at the next start, what is in force at once, and then what makes it count.
func (m *maker) settle() error {
	var files []Step
	for _, f := range []struct{ path, sep, what string }{
		{sysctlFile, " = ", "# Settings of the kernel for the broker. Only what was too low is here; nothing is lowered.\n"},
		{modprobeFile, "=", ""},
	} {
		if err := m.file(&files, f.path, func(was string) string {
			if was == "" {
				was = f.what
			}
			text, _ := merge(was, m.sysctls[f.path], f.sep)
			return text
		}, len(m.sysctls[f.path]) > 0); err != nil {
			return err
		}
	}
	if err := m.file(&files, limitsFile, func(was string) string { text, _ := unitText(was, m.units); return text }, len(m.units) > 0); err != nil {
		return err
	}
	for _, path := range []string{sandboxFile, tableFile, firewallFile} {
		text, wanted := m.texts[path]
		if err := m.file(&files, path, func(string) string { return text }, wanted); err != nil {
			return err
		}
	}
	units := slices.ContainsFunc(files, func(s Step) bool { return strings.HasPrefix(s.Name, dropInDir) })
	if s := m.configFile(); s != nil {
		files = append(files, *s)
	}
	if units && m.w.Direct {
		files = append(files, Step{Kind: Units, Rows: rowsOf(files, dropInDir), Restart: "none"})
	}
	order := []Kind{Mode, Sysctl, Limit, Table, Setting, Reload, Listener}
	slices.SortStableFunc(m.steps, func(a, b Step) int {
		if a.Kind != b.Kind {
			return slices.Index(order, a.Kind) - slices.Index(order, b.Kind)
		}
		if a.Kind == Mode {
			return strings.Compare(a.Name, b.Name) // a folder before what is in it
		}
		return 0
	})
	m.plan.Steps = append(m.plan.Steps, files...)
	for i := range m.steps {
		s := &m.steps[i]
		if s.Kind == Table && !s.Was.Absent { // what is new is the file's difference
			s.Diff = unified("(nft) table inet redoubt", s.Was.Absent, strings.TrimPrefix(string(s.Was.Content), tableHead), string(s.Will.Content))
		}
		if s.Kind.effect() || !s.same(s.Was, s.Will) {
			m.plan.Steps = append(m.plan.Steps, *s)
		}
	}
	return nil
}

func rowsOf(steps []Step, prefix string) (rows []string) {
	for i := range steps {
		if strings.HasPrefix(steps[i].Name, prefix) {
			for _, id := range steps[i].Rows {
				rows = addRow(rows, id)
			}
		}
	}
	return rows
}

// file adds a step for a file of ours, if it would be different.
func (m *maker) file(to *[]Step, path string, make func(was string) string, wanted bool) error {
	if !wanted {
		return nil
	}
	t, err := m.w.host()
	if err != nil {
		return err
	}
	now, err := t.look(path)
	t.close()
	if err != nil {
		return err
	}
	was, foreign := body(now)
	text := make(was)
	if text == was { // it has all of it, whoever wrote it
		return nil
	}
	s := Step{Kind: File, Name: path, Rows: m.rows[path], Restart: "none", Foreign: foreign, Was: now,
		Will: State{Content: []byte(marked(text)), Mode: 0o644, UID: m.w.UID, GID: m.w.GID}}
	if m.restarts[path] {
		s.Restart = "broker"
	}
	if !now.Absent {
		s.Will.Mode, s.Will.UID, s.Will.GID = now.Mode, now.UID, now.GID
	}
	s.Diff = unified(path, now.Absent, string(now.Content), string(s.Will.Content))
	*to = append(*to, s)
	return nil
}

// configFile is the step for the file of the configuration; nil: there is none.
func (m *maker) configFile() *Step {
	if len(m.edits) == 0 || m.text == string(m.was.Content) {
		return nil
	}
	s := &Step{Kind: File, Name: m.File, Restart: "none", Was: m.was, Will: m.was}
	s.Will.Content = []byte(m.text)
	s.Diff = unified(s.Name, false, string(m.was.Content), m.text)
	for _, e := range m.edits {
		s.Rows = addRow(s.Rows, e.row)
		if e.cuts != "" && !strings.Contains(s.Cuts, e.cuts) {
			s.Cuts = strings.TrimPrefix(s.Cuts+"; "+e.cuts, "; ")
		}
		if m.Loaded.NeedsRestart(e.key) {
			s.Restart = "broker" // a reload would be refused
		}
	}
	if s.Restart == "none" {
		if m.w.Broker == nil {
			s.Note = "counts when the broker starts"
			return s
		}
		for _, id := range s.Rows {
			m.row = m.plan.rowOf(id)
			m.effect(Reload, "")
		}
	}
	return s
}

// rowOf finds a row by its id.
func (p *Plan) rowOf(id string) *Row {
	for i := range p.Rows {
		if r := &p.Rows[i]; strings.HasPrefix(r.ID, id+"-") {
			return r
		}
	}
	return &Row{}
}

// number tells each row its steps.
func (m *maker) number() {
	for i := range m.plan.Steps {
		s := &m.plan.Steps[i]
		for _, id := range s.Rows {
			r := m.plan.rowOf(id)
			if r.Steps = append(r.Steps, i+1); s.Restart != "none" {
				r.Restart = s.Restart
			}
		}
	}
}
