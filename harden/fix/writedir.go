package fix

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/internal/datadir"
)

// WriteDir writes what a plan would install below dir, each file with its whole path, a
// script that installs it, and a page that says what is there. dir has to be empty, or not
// there. Nothing else is changed.
func (p *Plan) WriteDir(dir string) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(there) > 0 {
		return nil, fmt.Errorf("%s is not empty; name a folder that is, or none that is there yet", dir)
	}
	root, err := os.OpenRoot(dir) // nothing is written outside of it
	if err != nil {
		return nil, err
	}
	defer root.Close()
	put := func(name, text string, mode os.FileMode) {
		if err != nil {
			return
		}
		name = strings.TrimPrefix(name, "/")
		if folder := filepath.Dir(name); folder != "." {
			err = root.MkdirAll(folder, 0o755)
		}
		var f *os.File
		if err == nil {
			f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		}
		if err == nil {
			_, err = f.WriteString(text)
			err = errors.Join(err, f.Chmod(mode), f.Close())
		}
		files = append(files, filepath.Join(dir, name))
	}
	for i := range p.Steps {
		if s := &p.Steps[i]; s.Kind == File {
			put(s.Name, string(s.Will.Content), os.FileMode(s.Will.Mode&0o666))
		}
	}
	for _, x := range p.Extras {
		put(x.Name, x.Text, 0o644)
	}
	put("apply.sh", p.Script(), 0o755)
	put("README.md", p.readme(), 0o644)
	return files, err
}

// Script does the steps of a plan from the folder of WriteDir, for whoever would rather
// read and run it than trust --apply. It checks nothing afterwards and takes nothing back.
func (p *Plan) Script() string {
	var b strings.Builder
	redoubt := orWords(p.Command, "redoubt")
	b.WriteString("#!/bin/sh\n# Made by redoubt fix --write-dir. Read it, then run it as root on the host of the broker.\nset -eu\ncd \"$(dirname \"$0\")\"\n")
	for i := range p.Steps {
		s := &p.Steps[i]
		fmt.Fprintf(&b, "\n# step %d (%s): %s\n", i+1, strings.Join(s.Rows, ", "), s.Line())
		path := datadir.Quote(s.Name)
		switch s.Kind {
		case File:
			fmt.Fprintf(&b, "install -d %s\ninstall -m %04o -o %d -g %d .%s %s\n", datadir.Quote(filepath.Dir(s.Name)), s.Will.Mode, s.Will.UID, s.Will.GID, path, path)
		case Mode:
			if s.Was.UID != s.Will.UID || s.Was.GID != s.Will.GID {
				fmt.Fprintf(&b, "chown -h %d:%d %s\n", s.Will.UID, s.Will.GID, path)
			}
			if s.Was.Mode != s.Will.Mode {
				fmt.Fprintf(&b, "chmod %04o %s\n", s.Will.Mode, path)
			}
		case Sysctl:
			fmt.Fprintf(&b, "sysctl -w %s=%s\n", s.Name, s.To)
		case Limit:
			fmt.Fprintf(&b, "prlimit --pid %d --%s=%s\n", s.PID, s.Name, s.To)
		case Table:
			file := tableFile
			if slices.ContainsFunc(p.Steps, func(x Step) bool { return x.Kind == File && x.Name == tableFile }) {
				file = "." + tableFile
			}
			fmt.Fprintf(&b, "nft -c -f %s && nft -f %s\n", file, file)
		case Setting:
			fmt.Fprintf(&b, "%s config set %s %s\n", redoubt, s.Name, datadir.Quote(s.To))
		case Units:
			b.WriteString("systemctl daemon-reload\n")
		case Reload:
			b.WriteString(redoubt + " reload\n")
		case Listener:
			fmt.Fprintf(&b, "%s listeners restart %s\n", redoubt, datadir.Quote(s.Name))
		}
	}
	if p.Restarts() {
		b.WriteString("\necho 'Some of it counts when the broker starts again: systemctl restart redoubt'\n")
	}
	return b.String()
}

func (p *Plan) readme() string {
	var b strings.Builder
	b.WriteString("# What `redoubt fix` would do\n\n")
	fmt.Fprintf(&b, "Made from %s. Files lie here with their whole paths; `apply.sh` installs them and does the rest, as root.\n"+
		"`redoubt fix ... --apply` does the same, checks that the broker still serves, and can take it back.\n", p.Source)
	for i := range p.Rows {
		r := &p.Rows[i]
		if len(r.Steps)+len(r.Manual) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s (%s)\n\n%s\n\n", r.ID, r.State, plain(orWords(r.Summary, r.Title)))
		for _, text := range r.Also {
			fmt.Fprintf(&b, "- also: %s\n", plain(text))
		}
		for _, n := range r.Steps {
			fmt.Fprintf(&b, "- step %d: %s\n", n, p.Steps[n-1].Line())
		}
		for _, m := range r.Manual {
			fmt.Fprintf(&b, "- by hand: %s\n", plain(m))
		}
	}
	for i := range p.Rows {
		if r := &p.Rows[i]; r.Unseen && len(r.Steps)+len(r.Manual) == 0 {
			fmt.Fprintf(&b, "\n%s: %s\n", r.ID, plain(r.Note))
		}
	}
	for _, x := range p.Extras {
		fmt.Fprintf(&b, "\n`%s`: %s\n", x.Name, x.What)
	}
	return b.String()
}
