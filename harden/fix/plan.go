package fix

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/datadir"
)

// Order is what a plan is made from.
type Order struct {
	Report *harden.Report // of the rows that were asked for
	Named  bool           // they were named, and not all that are open
	// Firewall asks for the table of nftables and the NetworkPolicy whatever P1.4 says.
	Firewall bool
	Ports    func() (list []harden.Port, live bool, err error)
	Clients  []netip.Prefix // where clients may come from; empty: everywhere
	Loaded   *config.Loaded
	File     string // of the configuration, as a whole path; empty: none
	// Judge loads a configuration from a text as the broker would from its file.
	Judge   func(text string) error
	PID     int    // of the broker; 0: not known
	Unit    string // of systemd that it belongs to; empty: none
	ByHand  bool   // no unit and no container is around it
	Systemd bool   // the host is one with systemd
}

// maker makes a plan.
type maker struct {
	*Order
	w    *World
	ctx  context.Context
	plan *Plan
	row  *Row

	sysctls  map[string][]value // by file: sysctlFile, modprobeFile
	units    []value            // of limitsFile
	rows     map[string][]string
	texts    map[string]string   // other files of ours, whole
	restarts map[string]bool     // files that count from the next start on
	late     map[string][]string // parts of the broker that open their sockets then, by row
	edits    []edited            // of the configuration
	text     string              // the configuration after them
	was      State               // its file
	steps    []Step              // all others
	modes    int                 // of them, those of kind Mode
}

// edited is a key of the configuration's file.
type edited struct{ key, row, cuts string }

// Make makes a plan. It changes nothing.
func Make(ctx context.Context, w *World, o *Order) (*Plan, error) {
	m := &maker{Order: o, w: w, ctx: ctx, plan: &Plan{Node: o.Report.Node, Source: FromBroker, Rows: []Row{}, Steps: []Step{}},
		sysctls: map[string][]value{}, rows: map[string][]string{}, texts: map[string]string{}, restarts: map[string]bool{}, late: map[string][]string{}}
	if w.Broker == nil {
		m.plan.Source = FromConfiguration
	}
	for i := range o.Report.Rows {
		m.addRow(&o.Report.Rows[i])
	}
	if err := m.settle(); err != nil {
		return nil, err
	}
	m.number()
	m.afterStart()
	return m.plan, nil
}

const nothingToDo = "nothing to do"

// addRow collects what a row wants.
func (m *maker) addRow(r *harden.Row) {
	state := r.State()
	m.plan.Rows = append(m.plan.Rows, Row{ID: r.Check.Name(), Title: r.Check.Title, State: state, Steps: []int{}})
	m.row = &m.plan.Rows[len(m.plan.Rows)-1]
	if m.Firewall && r.Check.ID == "P1.4" {
		m.firewall()
	}
	unknown := ""
	more := 0
	for k := range r.Results {
		x := &r.Results[k]
		switch x.State {
		case harden.Fail, harden.Warn:
			switch text := x.Scope + ": " + x.Summary; {
			case m.row.Summary == "":
				m.row.Summary = text
			case len(m.row.Also) < alsoMost:
				m.row.Also = append(m.row.Also, text)
			default:
				more++
			}
			m.finding(x)
		case harden.Unknown:
			if unknown == "" {
				unknown = x.Scope + ": " + x.Summary
			}
		}
	}
	if more > 0 {
		m.row.Also = append(m.row.Also, fmt.Sprintf("and %d more, which redoubt doctor --only %s shows", more, m.id()))
	}
	m.row.Unseen = m.row.Summary == "" && unknown != ""
	switch {
	case m.row.Summary != "" && unknown != "":
		m.row.Note = "unknown beside it, and what is not seen is not changed: " + unknown
	case m.row.Summary != "":
	case unknown != "":
		m.row.Note = "not seen, which is no pass, and nothing is changed of what is not seen: " + unknown
	case state == harden.Waived:
		m.row.Note = "nothing to do: it is accepted"
	case state == harden.Manual:
		m.row.Note = "for a person to look at, which no step does: redoubt doctor --explain says how"
	default:
		m.row.Note = nothingToDo
	}
}

// alsoMost bounds how many findings of a row are named beside the first.
const alsoMost = 8

// finding takes the wants of one, and the words of what none of them helps.
func (m *maker) finding(x *harden.Result) {
	before := len(m.row.Manual)
	for _, want := range x.Wants {
		if want.Cuts != "" && !m.Named {
			m.manual("redoubt fix %s --apply, by its name: it shuts out %s", m.row.ID, want.Cuts)
			continue
		}
		m.want(want)
	}
	for _, left := range x.Left {
		m.manual("%s: %s", x.Scope, left)
	}
	m.manual("%s", x.LeftFix)
	if len(x.Wants) == 0 && len(m.row.Manual) == before {
		m.manual("%s", x.Fix)
	}
}

func (m *maker) manual(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text != "" && !slices.Contains(m.row.Manual, text) {
		m.row.Manual = append(m.row.Manual, text)
	}
}

// id is the row's without its slug.
func (m *maker) id() string {
	id, _, _ := strings.Cut(m.row.ID, "-")
	return id
}

// forRow notes that a step of that name is for the row.
func (m *maker) forRow(name string) {
	if !slices.Contains(m.rows[name], m.id()) {
		m.rows[name] = append(m.rows[name], m.id())
	}
}

func (m *maker) want(w harden.Want) {
	switch w.Kind {
	case harden.WantSysctl:
		m.sysctl(w.Name, w.Value)
	case harden.WantModule:
		m.sysctl("net.netfilter.nf_conntrack_buckets", w.Value)
		m.add(modprobeFile, value{"options " + w.Name, w.Value, m.id() + ": for the next time that the module is loaded"})
	case harden.WantUnit:
		m.unit(w.Name, w.Value)
	case harden.WantSandbox:
		if m.Unit != "redoubt.service" {
			m.manual("the broker is started by %s, which is not the unit of the package: give it NoNewPrivileges=yes, CapabilityBoundingSet= and a SystemCallFilter, as packaging/linux/redoubt.service has them", orWords(m.Unit, "no unit"))
			return
		}
		m.texts[sandboxFile] = sandboxText(m.lowPort())
		m.restarts[sandboxFile] = true
		m.forRow(sandboxFile)
	case harden.WantMode:
		m.mode(w)
	case harden.WantSetting:
		m.setting(w)
	case harden.WantReload:
		m.effect(Reload, "")
	case harden.WantListener:
		m.effect(Listener, w.Name)
	case harden.WantRestart:
		if !slices.Contains(m.late[m.row.ID], w.Name) {
			m.late[m.row.ID] = append(m.late[m.row.ID], w.Name)
		}
	case harden.WantFirewall:
		m.firewall()
	}
}

// afterStart says of rows that some sockets are opened when the broker starts and at no other time. With
// steps that is when those count in full; without any it is all that is left to do.
func (m *maker) afterStart() {
	for i := range m.plan.Rows {
		m.row = &m.plan.Rows[i]
		names := strings.Join(m.late[m.row.ID], " and ")
		switch {
		case names == "":
		case len(m.row.Steps) == 0:
			m.manual("start the broker again: it opens the sockets of %s when it starts, and not anew while it runs", names)
		default:
			text := "the sockets of " + names + " are not opened anew while the broker runs: for them it counts when the broker starts again"
			m.row.Restart, m.row.Note = "broker", strings.TrimPrefix(m.row.Note+"; "+text, "; ")
		}
	}
}

func orWords(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// add puts a line into a file of values, and keeps the larger of two for one name.
func (m *maker) add(file string, v value) {
	m.forRow(file)
	for i, known := range m.sysctls[file] {
		if known.name == v.name {
			if !reaches(v.name, known.text, v.text) {
				m.sysctls[file][i] = v
			}
			return
		}
	}
	m.sysctls[file] = append(m.sysctls[file], v)
}

// sysctl raises a setting of the kernel, now and at each boot.
func (m *maker) sysctl(name, wanted string) {
	now, err := m.w.lookSysctl(name)
	switch {
	case err != nil:
		m.manual("%s = %s in %s: it cannot be read here (%v)", name, wanted, sysctlFile, err)
		return
	case now.Value == wanted:
	case reaches(name, now.Value, wanted):
		m.manual("sysctl -w %s=%s, and the same in /etc/sysctl.d: it is %s now, and redoubt fix lowers no value, which others on this host may need", name, wanted, now.Value)
		return
	}
	m.add(sysctlFile, value{name, wanted, fmt.Sprintf("%s wants %s or more; it was %s when this was written", m.id(), wanted, now.Value)})
	will := State{Value: wanted}
	for i := range m.steps {
		if s := &m.steps[i]; s.Kind == Sysctl && s.Name == name {
			s.Rows = addRow(s.Rows, m.id())
			if !reaches(name, s.Will.Value, wanted) {
				s.Will, s.To = will, wanted
			}
			return
		}
	}
	m.steps = append(m.steps, Step{Kind: Sysctl, Name: name, Rows: []string{m.id()}, From: now.Value, To: wanted, Restart: "none", Was: now, Will: will})
}

func addRow(rows []string, id string) []string {
	if slices.Contains(rows, id) {
		return rows
	}
	return append(rows, id)
}

// unit gives the service a limit, and the running process the same.
func (m *maker) unit(name, wanted string) {
	resource := map[string]string{"LimitNOFILE": "nofile", "LimitCORE": "core"}[name]
	live := resource != "" && m.PID > 0
	switch {
	case m.Unit == "redoubt.service" || m.Unit == "" && m.Systemd && (m.ByHand || m.PID == 0):
		if !slices.ContainsFunc(m.units, func(v value) bool { return v.name == name && reaches(name, v.text, wanted) }) {
			m.units = append(slices.DeleteFunc(m.units, func(v value) bool { return v.name == name }), value{name, wanted, m.id() + " wants it"})
		}
		m.forRow(limitsFile)
		m.restarts[limitsFile] = m.restarts[limitsFile] || !live
	case m.Unit != "":
		m.manual("%s=%s for %s (systemctl edit %s), which is not the unit of the package", name, wanted, m.Unit, m.Unit)
	case m.ByHand:
		m.manual("%s", ulimit(name, wanted))
	default:
		flag := "--ulimit"
		if name == "TasksMax" {
			flag = "--pids-limit"
		}
		m.manual("%s=%s: give the container that limit (docker run %s, or that of its runtime)", name, wanted, flag)
	}
	if !live || slices.ContainsFunc(m.steps, func(s Step) bool { return s.Kind == Limit && s.Name == resource }) {
		return
	}
	now, err := limits(m.PID, resource)
	if err != nil {
		m.manual("start the broker again: the limit of the running process cannot be changed (%v)", err)
		return
	}
	will := liveLimit(now, wanted, m.w.mayRaise())
	if will == now {
		m.manual("start the broker again: its hard limit is %s, and may not be raised from here", now)
		return
	}
	m.steps = append(m.steps, Step{Kind: Limit, Name: resource, Rows: []string{m.id()}, From: now, To: will, Restart: "none",
		PID: m.PID, Start: m.w.started(m.PID), Was: State{Value: now}, Will: State{Value: will}})
}

// ulimit is what a directive of a unit is where there is none.
func ulimit(name, wanted string) string {
	if letter, ok := map[string]string{"LimitNOFILE": "n", "LimitCORE": "c"}[name]; ok {
		return "ulimit -" + letter + " " + wanted + " before the broker is started by hand"
	}
	return "run the broker as a service with " + name + "=" + wanted + ", or raise pids.max of its control group: no shell has a limit like that"
}

// liveLimit is what a limit of the process becomes. A hard one is never lowered, since it
// might not be possible to take that back, and raised where that is allowed.
func liveLimit(now, wanted string, raise bool) string {
	var soft, hard, want uint64
	_, err := fmt.Sscanf(now+" "+wanted, "%d:%d %d", &soft, &hard, &want)
	switch {
	case err != nil:
		return now
	case want == 0:
		return fmt.Sprintf("0:%d", hard)
	case !raise:
		return fmt.Sprintf("%d:%d", max(soft, min(want, hard)), hard)
	}
	return fmt.Sprintf("%d:%d", max(soft, want), max(hard, want))
}

func (m *maker) lowPort() bool {
	list, _, err := m.Ports()
	return err == nil && slices.ContainsFunc(list, func(p harden.Port) bool { return p.Addr.Port() < 1024 })
}

// mode closes a file. What root owns and only a group could read is given to the broker,
// which could not read it any more.
func (m *maker) mode(w harden.Want) {
	if abs, err := filepath.Abs(w.Name); err == nil {
		w.Name = abs
	}
	s := Step{Kind: Mode, Name: w.Name, Rows: []string{m.id()}, Restart: "none"}
	for i := range m.steps {
		if m.steps[i].Kind == Mode && m.steps[i].Name == w.Name {
			s = m.steps[i]
			m.steps = slices.Delete(m.steps, i, i+1)
			break
		}
	}
	if s.Was.Ino == 0 {
		now, err := m.w.lookMode(&s, true)
		if err != nil || now.Absent {
			m.manual("%s: take the bits %04o away%s; it is not done by itself: %v", w.Name, w.Clear, ownerWords(w.Owner), orErr(err, "it is not there any more"))
			return
		}
		if err := m.mayName(&now); err != nil {
			m.manual("%s: take the bits %04o away%s, if it is the broker's at all; root does not do it by itself, since it belongs to user %d and who can change the configuration chooses its name: %v",
				w.Name, w.Clear, ownerWords(w.Owner), now.UID, err)
			return
		}
		if m.modes >= modesMax {
			m.manual("more than %d files are open to others: these first, and then redoubt fix %s again; or chmod -R go= %s", modesMax, m.row.ID, datadir.Quote(m.w.DataDir))
			return
		}
		m.modes++
		s.Was, s.Will = now, now
	}
	s.Rows = addRow(s.Rows, m.id())
	s.Will.Mode &^= uint32(w.Clear) & 0o777
	if w.Owner >= 0 {
		s.Will.UID = w.Owner
	}
	if w.Clear&0o044 != 0 && s.Will.UID == 0 && m.w.Owner != 0 {
		s.Will.UID, s.Note = m.w.Owner, "the broker reads it as its owner from now on"
	}
	s.From, s.To = modeWords(s.Was), modeWords(s.Will)
	m.steps = append(m.steps, s)
}

// modesMax bounds the files of one plan: each is written down, before and after.
const modesMax = 256

// mayName is an error if a file that is not the broker's user's is named by a configuration
// that he, or somebody else, could have written: who has taken the broker over would write
// /etc/shadow there as the key of a listener, and be given it.
func (m *maker) mayName(now *State) error {
	if m.w.UID != 0 || m.File == "" || now.UID == m.w.Owner && now.UID != 0 {
		return nil
	}
	return m.w.rootsAlone(m.File)
}

func ownerWords(uid int) string {
	if uid < 0 {
		return ""
	}
	return fmt.Sprintf(", and let it belong to user %d", uid)
}

func orErr(err error, words string) error {
	if err == nil {
		return errors.New(words)
	}
	return err
}

func modeWords(s State) string { return fmt.Sprintf("%04o %d:%d", s.Mode, s.UID, s.GID) }

// effect adds a step without a state.
func (m *maker) effect(kind Kind, name string) {
	if m.w.Broker == nil {
		m.manual("start the broker again: it does not answer")
		return
	}
	for i := range m.steps {
		if m.steps[i].Kind == kind && m.steps[i].Name == name {
			m.steps[i].Rows = addRow(m.steps[i].Rows, m.id())
			return
		}
	}
	m.steps = append(m.steps, Step{Kind: kind, Name: name, Rows: []string{m.id()}, Restart: "none"})
}

// firewall adds the table, what loads it at each start, and the NetworkPolicy.
func (m *maker) firewall() {
	if _, done := m.texts[tableFile]; done {
		return
	}
	ports, _, err := m.Ports()
	if err != nil {
		m.manual("rules for the packet filter: where the broker listens is not known: %v", err)
		return
	}
	text := tableText(ports, m.Clients)
	m.texts[tableFile] = text
	m.forRow(tableFile)
	if m.Systemd {
		m.texts[firewallFile] = firewallText
		m.forRow(firewallFile)
	}
	s := Step{Kind: Table, Name: "inet redoubt", Rows: []string{m.id()}, Restart: "none", Will: tableState(text)}
	now, err := m.w.lookTable(m.ctx)
	if err != nil {
		now, s.Note = State{Absent: true}, "the table in force could not be asked for: "+err.Error()
	}
	s.Was = now
	if len(m.Clients) > 0 {
		s.Cuts = "clients from other networks than --clients has"
	}
	m.steps = append(m.steps, s)
	m.plan.Extras = append(m.plan.Extras, Extra{"networkpolicy.yaml", "a NetworkPolicy for Kubernetes: kubectl apply -f", policyText(ports, m.Clients)})
}
