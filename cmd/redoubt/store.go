package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
	"github.com/redoubtmq/redoubt/store/local"
)

// storePage says what to do about each finding.
const storePage = "docs/ops/store.md"

func storeCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Check and repair the log of durable messages and sessions",
		Long: "The log in DATA_DIR/store/log: what the broker has promised to keep. These commands work on its files while no\n" +
			"broker runs, as the owner of the data directory; check also as root.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(storeCheckCmd(g), storeRepairCmd(g))
	return cmd
}

func storeCheckCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read the whole log and say what is wrong; change nothing",
		Long: "Reads every byte of the log as a start of the broker would, and says what is there, what is damaged, which records\n" +
			"are missing and what the next start would do about it. It changes nothing and works on a folder that cannot be\n" +
			"written. While a broker runs it refuses; while it works no broker starts.\n" +
			"It judges whether what was written is there, and no more: not the index, and not whether sessions are over their\n" +
			"limits or the log keeps more than store.max_bytes. redoubt status of the running broker says that.\n\n" +
			"Exit codes: 0 nothing that was stored is missing (a write that a crash left unfinished was never acknowledged and\n" +
			"does not count), 1 something is damaged, missing (also since an earlier repair) or cannot be read, 2 usage, or it could\n" +
			"not be checked.",
		Example: "  redoubt store check\n  redoubt store check --data-dir /mnt/snapshot\n  redoubt store check -o json | jq '.missing'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return storeCheck(cmd, g) },
	}
}

func storeRepairCmd(g *globals) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Do now what the next start would do about a damaged log",
		Long: "Brings the log into a state in which a broker can go on, exactly as a start of the broker does, and says what it did.\n" +
			"A segment that is damaged is kept under another name (.bad-1) and replaced by one with every record that can be\n" +
			"read; a write that a crash left unfinished is cut off. Nothing else is removed. Copy the folder before, if anything\n" +
			"is damaged. A log of a newer version is refused.\n\n" +
			"Exit codes: 0 done, whatever was found (check says what is missing), 1 refused or failed, 2 usage.",
		Example: "  redoubt store repair --dry-run\n  redoubt store repair",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return storeRepair(cmd, g, dry) },
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be done and change nothing")
	return cmd
}

// storeDamage is the verdict of a check as an exit code; it was printed already.
type storeDamage struct{}

func (storeDamage) Error() string  { return "" }
func (storeDamage) Reported() bool { return true }
func (storeDamage) ExitCode() int  { return 1 }

// storeUnchecked is a check that could not be made.
type storeUnchecked struct{ error }

func (storeUnchecked) ExitCode() int   { return 2 }
func (e storeUnchecked) Unwrap() error { return e.error }

func storeCheck(cmd *cobra.Command, g *globals) error {
	s, err := inspectStore(cmd, g)
	var unreadable *store.DamageError
	switch {
	case errors.As(err, &unreadable):
		return err
	case err != nil:
		return storeUnchecked{err}
	}
	if g.Output == "json" {
		err = writeConfigJSON(cmd.OutOrStdout(), s.document(true))
	} else {
		err = s.writeCheck(cmd.OutOrStdout())
	}
	if err == nil && !s.whole() {
		err = storeDamage{}
	}
	return err
}

func storeRepair(cmd *cobra.Command, g *globals, dry bool) error {
	work := repairStore
	if dry {
		work = inspectStore
	}
	s, err := work(cmd, g)
	if err != nil {
		return err
	}
	if g.Output == "json" {
		return writeConfigJSON(cmd.OutOrStdout(), s.document(dry))
	}
	return s.writeRepair(cmd.OutOrStdout(), dry)
}

// logFolder is where the log is in a data directory.
func logFolder(dataDir string) string {
	log, _ := storeFolders(dataDir)
	return log
}

// inspectStore reads the log, with the data directory kept as it is meanwhile.
func inspectStore(cmd *cobra.Command, g *globals) (*storeReport, error) {
	loaded, err := g.LookConfig()
	if err != nil {
		return nil, err
	}
	dataDir := loaded.Config.Node.DataDir
	dir, err := disk.Look(logFolder(dataDir))
	if err != nil {
		return nil, noLog(err, dataDir)
	}
	release, err := datadir.Share(dataDir)
	if err != nil {
		return nil, stopFirst(noLog(err, dataDir))
	}
	defer release()
	return storeReportOf(cmd.ErrOrStderr(), "reading the log", g, dataDir, func(tell func(done, total int64)) (*local.Report, error) {
		return local.Inspect(dir, tell)
	})
}

// repairStore does what a start of the broker does to the log.
func repairStore(cmd *cobra.Command, g *globals) (*storeReport, error) {
	loaded, err := g.LookConfig()
	if err != nil {
		return nil, err
	}
	dataDir := loaded.Config.Node.DataDir
	if _, err := disk.Look(logFolder(dataDir)); err != nil { // before a lock file is made where nothing is
		return nil, noLog(err, dataDir)
	}
	release, err := datadir.Lock(dataDir)
	if err != nil {
		return nil, stopFirst(err)
	}
	defer release()
	dir, err := disk.OpenDir(logFolder(dataDir))
	if err != nil {
		return nil, err
	}
	return storeReportOf(cmd.ErrOrStderr(), "reading and repairing the log", g, dataDir, func(tell func(done, total int64)) (*local.Report, error) {
		return local.Repair(dir, tell)
	})
}

// storeReportOf runs work under a bar.
func storeReportOf(stderr io.Writer, what string, g *globals, dataDir string, work func(tell func(done, total int64)) (*local.Report, error)) (*storeReport, error) {
	p := newProgress(stderr, what)
	rep, err := work(p.at)
	p.end()
	var unreadable *store.DamageError
	if errors.As(err, &unreadable) && unreadable.Err != nil {
		return nil, fmt.Errorf("%w: the disk does not give this file back; save it to another disk before it gets worse (%s says how)", err, storePage)
	}
	if err != nil {
		return nil, noLog(err, dataDir)
	}
	folder, err := filepath.Abs(logFolder(dataDir))
	if err != nil {
		return nil, err
	}
	return &storeReport{Report: rep, folder: folder, flags: g.flags()}, nil
}

// flags are those that another command needs to mean the same.
func (g *globals) flags() string {
	s := ""
	if g.ConfigFile != "" {
		s += " --config " + datadir.Quote(g.ConfigFile)
	}
	if g.DataDir != "" {
		s += " --data-dir " + datadir.Quote(g.DataDir)
	}
	return s
}

// noLog says what it means that there is nothing to look at.
func noLog(err error, dataDir string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no log in %s: no broker has stored anything there, or its data directory is another (--data-dir, --config)", logFolder(dataDir))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run it as the user the broker runs as, or as root", err)
	}
	return err
}

// stopFirst says what to do about a broker that runs.
func stopFirst(err error) error {
	var inUse *datadir.InUseError
	if !errors.As(err, &inUse) {
		return err
	}
	who := "another process"
	if inUse.PID != 0 {
		who = fmt.Sprintf("process %d", inUse.PID)
	}
	return fmt.Errorf("the data directory %s is in use by %s, so its log is changing; stop the broker first, or ask the running one how it is: redoubt status", inUse.Dir, who)
}
