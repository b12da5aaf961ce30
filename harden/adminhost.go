package harden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Space is what a file system has.
type Space struct {
	Bytes, BytesFree   uint64 // free for who is not root
	Inodes, InodesFree uint64 // 0 of 0: it does not count them
	ReadOnly           bool
}

// How much of the file system has to be free. Below diskLeast the store makes no ballast any more
// and is about to refuse publishes (docs/adr/0007-log-format.md).
const (
	diskLeast       = 256 << 20
	diskPercent     = 10
	inodesLeast     = 1000
	inodesPercent   = 5
	gibi            = 1 << 30
	memoryUnlimited = math.MaxInt64 &^ 0xfff // of version 1
)

var fmtDisk = fmt.Sprintf("Asks the kernel about the file system of node.data_dir, as the process sees it (statfs through its root): for users other than root, who have less. Less than %d MiB, or %d inodes, and one that is read-only are failures; less than %d %%, or %d %% of the inodes, is a warning, as is less than store.max_bytes may still take.",
	diskLeast>>20, inodesLeast, diskPercent, inodesPercent)

// diskFree is row P5.10.
func diskFree(ctx context.Context, e *Env) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("disk")
	const what = "free for the store"
	want := fmt.Sprintf("%d MiB at least, and %d %%", diskLeast>>20, diskPercent)
	dir := plainText(b.Settings["node.data_dir"])
	if dir == "" {
		return unknown(e, "the broker does not say where its data is; it is older than this doctor")
	}
	seen := "root"
	if !filepath.IsAbs(dir) { // as the process was started
		seen = "cwd"
	}
	through := filepath.Join(e.proc(), strconv.Itoa(b.PID), seen, dir)
	e.touch(through)
	s, err := e.host().Space(through)
	if err == nil && s.Bytes == 0 {
		err = errors.New("the file system says that it has no bytes")
	}
	if err != nil {
		q.blind(what, want, through, err)
		return []Result{q.result(Kernel, "")}
	}
	part := int(float64(s.BytesFree) / float64(s.Bytes) * 100)
	actual := fmt.Sprintf("%s of %s (%d %%)", bytesText(s.BytesFree), bytesText(s.Bytes), part)
	switch {
	case s.ReadOnly:
		q.told(what, want, "the file system is read-only", through, Fail)
	case s.BytesFree < diskLeast:
		q.told(what, want, actual, through, Fail)
	case part < diskPercent:
		q.told(what, want, actual, through, Warn)
	default:
		q.told(what, want, actual, through, Pass)
	}
	q.storeGrows(b, s, through)
	const inodes = "free inodes"
	switch {
	case s.Inodes == 0: // btrfs, for instance
	case s.InodesFree < inodesLeast:
		q.told(inodes, fmt.Sprintf("%d at least", inodesLeast), fmt.Sprint(s.InodesFree), through, Fail)
	case s.InodesFree*100 < s.Inodes*inodesPercent:
		q.told(inodes, fmt.Sprintf("%d %%", inodesPercent), fmt.Sprintf("%d of %d", s.InodesFree, s.Inodes), through, Warn)
	default:
		q.told(inodes, fmt.Sprintf("%d at least", inodesLeast), fmt.Sprintf("%d of %d", s.InodesFree, s.Inodes), through, Pass)
	}
	return []Result{q.result(Kernel, actual+" are free")}
}

// storeGrows judges what the store may still take.
func (q *inquiry) storeGrows(b *BrokerReport, s Space, where string) {
	if b.StoreBytesMax <= 0 {
		return // its kind has no bound that is known
	}
	more := uint64(max(b.StoreBytesMax-b.StoreBytes, 0))
	state := Pass
	if more > s.BytesFree {
		state = Warn
	}
	q.told("what store.max_bytes lets the store still take", "no more than is free", bytesText(more), where, state)
}

// bytesText is a size for a person.
func bytesText(n uint64) string {
	switch {
	case n >= gibi:
		return fmt.Sprintf("%.1f GiB", float64(n)/gibi)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// memoryCap is row P5.11.
func memoryCap(ctx context.Context, e *Env) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("process")
	const what, want = "limit of memory of the control group", "less than the machine has"
	machine, err := e.machineMemory()
	if err != nil {
		q.blind("memory of the machine", "", filepath.Join(e.proc(), "meminfo"), err)
		return []Result{q.result(Kernel, "")}
	}
	most, where, err := e.memoryMax(b.PID)
	switch {
	case err != nil:
		q.blind(what, want, where, err)
	case most >= memoryUnlimited:
		actual, state := e.unconfined(b.PID, "none, at no level")
		q.told(what, want, actual, where, state)
	case most >= machine:
		q.told(what, want, fmt.Sprintf("%s, and the machine has %s: it bounds nothing", bytesText(uint64(most)), bytesText(uint64(machine))), where, Fail)
	default:
		q.told(what, want, fmt.Sprintf("%s of %s", bytesText(uint64(most)), bytesText(uint64(machine))), where, Pass)
	}
	return []Result{q.result(Kernel, "the kernel bounds it")}
}

// machineMemory is MemTotal, in bytes.
func (e *Env) machineMemory() (int64, error) {
	text, err := os.ReadFile(filepath.Join(e.proc(), "meminfo"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			f := strings.Fields(rest)
			if len(f) != 2 || f[1] != "kB" {
				break
			}
			n, err := number(f[0])
			return n << 10, err
		}
	}
	return 0, errors.New("it has no MemTotal")
}

// memoryMax is the least limit of the control group of a process and of each above it, and
// where that is.
func (e *Env) memoryMax(pid int) (most int64, where string, err error) {
	root, group, file, err := e.groupOf(pid, "memory", "memory.max", "memory.limit_in_bytes")
	if err != nil {
		return 0, root, err
	}
	most, where = math.MaxInt64, filepath.Join(root, group, file)
	for g := path.Clean("/" + group); ; g = path.Dir(g) {
		text, err := readSmall(filepath.Join(root, g, file))
		switch {
		case errors.Is(err, fs.ErrNotExist) && g == "/": // the topmost of version 2 has no file of it
			return most, where, nil
		case err != nil: // a group without the controller is bounded by those above
			if !errors.Is(err, fs.ErrNotExist) {
				return 0, filepath.Join(root, g), err
			}
		default:
			n, err := number(text)
			if err != nil {
				return 0, filepath.Join(root, g, file), err
			}
			if n < most {
				most, where = n, filepath.Join(root, g, file)
			}
		}
		if g == "/" {
			return most, where, nil
		}
	}
}

// coreDumps is row P5.12.
func coreDumps(ctx context.Context, e *Env) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("process")
	const what, want = "what a core dump would hold (coredump_filter)", "no memory: 0"
	where := fmt.Sprintf("/proc/%d/coredump_filter", b.PID)
	text, err := e.readProc(b.PID, "coredump_filter")
	filter := strings.TrimSpace(string(text))
	if err == nil {
		var bits uint64
		if bits, err = strconv.ParseUint(filter, 16, 64); err == nil && bits == 0 {
			q.told(what, want, "no memory", where, Pass)
			return []Result{q.result(Kernel, "a crash leaves no memory to anybody")}
		}
	}
	if err != nil {
		q.blind(what, want, where, err)
		return []Result{q.result(Kernel, "")}
	}
	q.told(what, want, filter+": what follows decides", where, NotApplicable)
	q.obs = append(q.obs, e.judgeCore(b.PID).Observations...)
	const pattern = "kernel.core_pattern"
	to, err := readSmall(e.sysctlPath(pattern))
	wantPattern := "a file, or systemd-coredump, which keeps to the limit"
	switch program, _, _ := strings.Cut(strings.TrimPrefix(to, "|"), " "); {
	case err != nil:
		q.blind(pattern, wantPattern, e.sysctlPath(pattern), err)
	case to == "":
		q.told(pattern, wantPattern, "not told", e.sysctlPath(pattern), Unknown)
	case strings.HasPrefix(to, "|") && filepath.Base(program) == "systemd-coredump":
		q.told(pattern, wantPattern, "systemd-coredump", e.sysctlPath(pattern), Pass)
	case strings.HasPrefix(to, "|"), strings.HasPrefix(to, "@"):
		q.told(pattern, wantPattern, shortened(to)+" gets all of the memory, whatever the limit is", e.sysctlPath(pattern), Fail)
	default:
		q.told(pattern, wantPattern, shortened(to), e.sysctlPath(pattern), Pass)
	}
	return []Result{q.result(Kernel, "a crash writes no memory to disk")}
}
