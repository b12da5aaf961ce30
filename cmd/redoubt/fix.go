package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/harden"
)

// fixFlags are the flags of redoubt fix.
type fixFlags struct {
	plan     bool
	writeDir string
	apply    bool
	rollback string
	runs     bool
	all      bool
	last     bool
	force    bool
	firewall bool
	clients  []string
	root     string
	within   time.Duration
}

func fixCmd(g *globals) *cobra.Command {
	var f fixFlags
	cmd := &cobra.Command{
		Use:   "fix [ROW...]",
		Short: "Mend what redoubt doctor has found, and take it back",
		Long: "Looks at rows of the hardening checklist as redoubt doctor does, and says what would mend those that are open: as steps and\n" +
			"differences of files, and in words where only a person can. Nothing is changed without --apply.\n\n" +
			"--apply judges every step first, writes down what was there, and does them in their order. If one fails, or the broker does not\n" +
			"serve afterwards as it did, all of it is put back. Then the rows are looked at again. --rollback puts a run back later, also\n" +
			"one that was killed in the middle. No value is lowered; a file of ours that somebody has changed takes --force; what would\n" +
			"shut out clients is done only for rows that are named. The broker is never restarted: what counts from its next start on is said.\n\n" +
			"The broker is asked over its administration socket. Without one the plan is made from the configuration and the kernel alone,\n" +
			"and says so. It takes root for settings of the host; the broker's user can do what is his.\n\n" +
			"Exit codes: 0 done, or nothing to do; 1 something is left that was not or could not be mended; 2 usage, or the work could not be done;\n" +
			"3 of some rows it could not be seen whether there is something to do, and nothing else is left.",
		Example: "  redoubt fix --all\n  redoubt fix P1.3a P2.2\n  redoubt fix P1.3a --apply\n  redoubt fix --rollback\n" +
			"  redoubt fix P1.4 --firewall --clients 10.0.0.0/8 --write-dir ./change-417\n  redoubt fix --all -o json",
		RunE: func(cmd *cobra.Command, args []string) error { return runFix(cmd, g, &f, args) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&f.plan, "plan", false, "print what would be done, and change nothing (the default)")
	fs.StringVar(&f.writeDir, "write-dir", "", "write the files below an empty `DIRECTORY` with their whole paths, and a script that installs them; change nothing else")
	fs.BoolVar(&f.apply, "apply", false, "do it")
	fs.StringVar(&f.rollback, "rollback", "", "put back what was before a `RUN`, or before the last one (last)")
	fs.Lookup("rollback").NoOptDefVal = "last"
	fs.BoolVar(&f.runs, "runs", false, "list what was applied, the newest first")
	fs.BoolVar(&f.all, "all", false, "all rows that are open")
	fs.BoolVar(&f.last, "last", false, "with --all: those that were open in the last whole run of redoubt doctor, and no others")
	fs.BoolVar(&f.force, "force", false, "with --apply: change files that somebody else has edited, keeping their lines; with --rollback: put back what was, whatever became of it since")
	fs.BoolVar(&f.firewall, "firewall", false, "with P1.4: rules of nftables and a NetworkPolicy for the broker's ports, also where the row is well")
	fs.StringSliceVar(&f.clients, "clients", nil, "let clients in from these `NETWORK,...` alone, in those rules (default from everywhere)")
	fs.StringVar(&f.root, "root", "", "where the files of the host lie, below another `DIRECTORY` than /; what is live is changed all the same")
	fs.DurationVar(&f.within, "within", doctorWithin, "how long looking may take, at most 1m")
	return cmd
}

// check finds what makes no sense together.
func (f *fixFlags) check(args []string) error {
	ways := 0
	for _, given := range []bool{f.plan, f.writeDir != "", f.apply, f.rollback != "", f.runs} {
		if given {
			ways++
		}
	}
	back := f.rollback != "" || f.runs
	switch {
	case ways > 1:
		return errors.New("--plan, --write-dir, --apply, --rollback and --runs are one at a time")
	case f.rollback != "" && len(args) > 1, f.runs && len(args) > 0:
		return errors.New("a run is taken back as a whole: redoubt fix --rollback RUN, without rows")
	case back && f.all:
		return errors.New("--all is about rows, and a run is taken back as a whole")
	case back:
	case len(args) == 0 && !f.all:
		return fmt.Errorf("which rows? redoubt fix P1.3a, redoubt fix --all; redoubt doctor says what is open")
	case len(args) > 0 && f.all:
		return errors.New("--all is all rows; name none, or leave it out")
	case f.last && !f.all:
		return errors.New("--last goes with --all")
	case len(f.clients) > 0 && !f.firewall:
		return errors.New("--clients goes with --firewall")
	}
	switch {
	case f.within <= 0 || f.within > doctorWithinMax:
		return fmt.Errorf("--within %v: it is at most %v, and more than nothing", f.within, doctorWithinMax)
	case f.force && !f.apply && f.rollback == "":
		return errors.New("--force goes with --apply or --rollback")
	}
	return nil
}

// networks are those of --clients.
func (f *fixFlags) networks() (list []netip.Prefix, err error) {
	for _, text := range f.clients {
		n, err := netip.ParsePrefix(text)
		if err != nil || n != n.Masked() || n.Addr().Is4In6() {
			return nil, fmt.Errorf("--clients %s: it is no network. Write an address and the length of its prefix, such as 10.0.0.0/8", text)
		}
		list = append(list, n)
	}
	return list, nil
}

func runFix(cmd *cobra.Command, g *globals, f *fixFlags, args []string) error {
	if err := f.check(args); err != nil {
		return &usageError{err}
	}
	clients, err := f.networks()
	if err != nil {
		return &usageError{err}
	}
	r, err := newFixRun(cmd, g, f)
	if err != nil {
		return doctorError{err}
	}
	switch {
	case f.runs:
		return r.list()
	case f.rollback != "":
		run := f.rollback
		if len(args) == 1 {
			run = args[0]
		}
		return r.rollback(run)
	}
	checks, err := harden.Select(harden.Checks, args)
	if err != nil {
		return &usageError{err}
	}
	if f.last {
		if checks, err = r.openBefore(); err != nil {
			return doctorError{fmt.Errorf("--last: %w", err)}
		}
	}
	if f.firewall {
		if one, err := harden.Select(checks, []string{"P1.4"}); err != nil || len(one) == 0 {
			return &usageError{errors.New("--firewall goes with row P1.4, which is not among those that were named")}
		}
	}
	return r.fix(checks, clients)
}
