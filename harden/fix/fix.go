// Package fix makes the changes that findings of the hardening checklist want, and takes
// them back. A Plan is made first and changes nothing; Apply judges all of it before the
// first change, writes down what was there, and puts it back when a step fails; Rollback
// does the same later, also after a crash in the middle. It judges no row: package harden
// does, before and after.
//
// Rules: checklist C6 points 9 and 10. On the host only files with our name are written,
// in .d folders; a file that somebody else has edited is left alone unless that is asked
// for. No value is lowered. No link is followed, and no folder is written into that others
// can write into: this runs as root beside a user who may have been taken over.
package fix

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/redoubtmq/redoubt/harden"
)

// Kind is what a step changes.
type Kind string

// The kinds. Those of the second group have no state of their own: they make what was
// written before them count, and a rollback does them again.
const (
	File    Kind = "file"    // a file of the host, or that of the configuration
	Sysctl  Kind = "sysctl"  // a setting of the kernel, now
	Mode    Kind = "mode"    // permissions and owner of a file or folder
	Limit   Kind = "limit"   // a limit of the running process
	Table   Kind = "table"   // the table of nftables
	Setting Kind = "setting" // a key of the running broker

	Units    Kind = "units"    // systemd reads its units again
	Reload   Kind = "reload"   // the broker reads its configuration and certificates again
	Listener Kind = "listener" // a listener opens its sockets anew
)

// effect tells whether a step only makes others count.
func (k Kind) effect() bool { return k == Units || k == Reload || k == Listener }

// State is what is there: before a step, or after it. What of it counts depends on the
// kind of the step.
type State struct {
	Absent  bool   `json:"absent,omitempty"`
	Content []byte `json:"content,omitempty"`
	Value   string `json:"value,omitempty"`
	Mode    uint32 `json:"mode,omitempty"` // permissions alone
	UID     int    `json:"uid,omitempty"`
	GID     int    `json:"gid,omitempty"`
	Dev     uint64 `json:"dev,omitempty"` // Mode: which file it was
	Ino     uint64 `json:"ino,omitempty"`
	// Folders are those that are missing above a file, the topmost first.
	Folders []string `json:"folders,omitempty"`
}

// Step is one change.
type Step struct {
	Kind Kind     `json:"kind"`
	Rows []string `json:"rows"` // ids of the rows it is for
	// Name is a path (File, Mode), a name of the kernel (Sysctl), nofile or core (Limit), a
	// key (Setting), or a listener.
	Name string `json:"name"`
	From string `json:"from,omitempty"` // in words
	To   string `json:"to,omitempty"`
	Diff string `json:"diff,omitempty"` // File, Table
	// Restart is what has to happen before it counts: none, broker.
	Restart string `json:"restart"`
	Cuts    string `json:"cuts,omitempty"`    // which clients it shuts out
	Foreign string `json:"foreign,omitempty"` // why it takes --force
	Note    string `json:"note,omitempty"`

	PID   int    `json:"pid,omitempty"`   // Limit
	Start string `json:"start,omitempty"` // Limit: when that process began, as the kernel counts

	Was  State `json:"was"`  // when the plan was made, and then when it was applied
	Will State `json:"will"` // afterwards
}

// Row is what a plan has for one row.
type Row struct {
	ID      string       `json:"id"` // with its slug
	Title   string       `json:"title"`
	State   harden.State `json:"state"`
	Summary string       `json:"summary,omitempty"`
	Also    []string     `json:"also,omitempty"`   // more that was found
	Unseen  bool         `json:"unseen,omitempty"` // nothing was found because something could not be looked at
	Steps   []int        `json:"steps"`            // numbers of steps, from 1
	Manual  []string     `json:"manual,omitempty"` // what only a person can do
	Note    string       `json:"note,omitempty"`   // why there is nothing to do
	Restart string       `json:"restart,omitempty"`
}

// Sources of a plan.
const (
	FromBroker        = "the running broker"
	FromConfiguration = "the configuration alone"
)

// Plan is what would be done.
type Plan struct {
	Node   string `json:"node,omitempty"`
	Source string `json:"source"`
	Why    string `json:"why,omitempty"` // the broker was not asked
	// Command is how redoubt is called from anywhere, with its configuration; empty: redoubt.
	Command string `json:"-"`
	Rows    []Row  `json:"rows"`
	Steps   []Step `json:"steps"`
	// Extras are files that no step installs, such as a NetworkPolicy.
	Extras []Extra `json:"extras,omitempty"`
}

// Extra is a file for somewhere else.
type Extra struct {
	Name, What, Text string
}

// MarshalJSON implements json.Marshaler.
func (x Extra) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"name": x.Name, "what": x.What, "text": x.Text})
}

// Open tells whether something is left that the steps do not do.
func (p *Plan) Open() bool {
	return slices.ContainsFunc(p.Rows, func(r Row) bool { return len(r.Manual) > 0 })
}

// Unseen tells whether there are rows of which nothing was found because something could not
// be looked at, and nothing is done about them either.
func (p *Plan) Unseen() bool { return p.unseen() > 0 }

func (p *Plan) unseen() (n int) {
	for i := range p.Rows {
		if r := &p.Rows[i]; r.Unseen && len(r.Steps)+len(r.Manual) == 0 {
			n++
		}
	}
	return n
}

// Foreign are the steps that would change a file that somebody else has edited.
func (p *Plan) Foreign() (out []Step) {
	for i := range p.Steps {
		if p.Steps[i].Foreign != "" {
			out = append(out, p.Steps[i])
		}
	}
	return out
}

// Broker is what steps need of the running broker.
type Broker interface {
	// RunTime answers what is set at run time of a key; ok is false where nothing is.
	RunTime(ctx context.Context, key string) (value string, ok bool, err error)
	// Set sets a key at run time, and Unset takes that back.
	Set(ctx context.Context, key, value string) error
	Unset(ctx context.Context, key string) error
	// Reload has it read its files again. An error means that nothing has changed.
	Reload(ctx context.Context) error
	// Reopen closes the sockets of a listener and opens them again; connections stay.
	Reopen(ctx context.Context, listener string) error
}
