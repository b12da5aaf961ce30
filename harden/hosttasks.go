package harden

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// tasksRoom is how many more threads the broker must be able to start. The runtime
// starts one for each system call that blocks, and ends the process when it cannot.
const tasksRoom = 64

// tasks judges the controller that counts threads: in a container, and in a unit,
// it is smaller than anything /proc/sys shows.
func (q *inquiry) tasks(p *plan) {
	const what = "threads of the control group (pids.max)"
	want := fmt.Sprintf("%d more than there are", tasksRoom)
	left, where, err := q.e.tasksLeft(p.PID)
	switch {
	case err != nil:
		q.blind(what, want, where, err)
	case left == math.MaxInt64:
		q.told(what, want, "no limit", where, Pass)
	case left < tasksRoom:
		q.told(what, want, fmt.Sprintf("%d more", left), where, Fail)
		q.mend(fmt.Sprintf("give the unit TasksMax=4096, or the container a larger --pids-limit (%s)", where), Want{Kind: WantUnit, Name: "TasksMax", Value: "4096"})
	default:
		q.told(what, want, fmt.Sprintf("%d more", left), where, Pass)
	}
}

// tasksLeft is how many threads the control group of a process, and every one
// above it, may still have: the least of them, and where that is.
func (e *Env) tasksLeft(pid int) (left int64, where string, err error) {
	root, group, _, err := e.groupOf(pid, "pids", "pids.max", "pids.max")
	if err != nil {
		return 0, root, err
	}
	left, where = math.MaxInt64, root
	for g := path.Clean("/" + group); ; g = path.Dir(g) {
		n, err := groupLeft(filepath.Join(root, g))
		if err != nil {
			return 0, filepath.Join(root, g), err
		}
		if n < left {
			left, where = n, filepath.Join(root, g, "pids.max")
		}
		if g == "/" {
			return left, where, nil
		}
	}
}

// groupOf finds the control group that counts for a process: the folder of its hierarchy, the
// path below that, and the name of the file with the limit, which is another one in version 1.
// After an error root is where there was none.
func (e *Env) groupOf(pid int, controller, file, file1 string) (root, group, limit string, err error) {
	where := fmt.Sprintf("/proc/%d/cgroup", pid)
	text, err := e.readProc(pid, "cgroup")
	if err != nil {
		return where, "", "", err
	}
	mount, limit := "", file
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, name := range strings.Split(parts[1], ",") {
			switch {
			case name == controller: // version 1, which counts where it is
				mount, group, limit = controller, parts[2], file1
			case parts[1] == "" && parts[0] == "0" && group == "":
				group = parts[2]
			}
		}
	}
	if group == "" {
		return where, "", "", fmt.Errorf("no control group is listed that would count %s", controller)
	}
	if root = e.Sys; root == "" {
		root = "/sys"
	}
	root = filepath.Join(root, "fs", "cgroup", mount)
	if _, err := os.Stat(root); err != nil {
		return root, "", "", err
	}
	// Inside a container the path can be one of the host's, which is not there: the
	// mount then begins with the container's own group.
	if _, err := os.Stat(filepath.Join(root, group)); err != nil {
		group = "/"
		if _, err := os.Stat(filepath.Join(root, limit)); err != nil {
			return root, "", "", fmt.Errorf("the control group of the process is not there: %w", err)
		}
	}
	return root, group, limit, nil
}

// groupLeft is that of one group. The topmost has no limit, and no file of one.
func groupLeft(dir string) (int64, error) {
	text, err := readSmall(filepath.Join(dir, "pids.max"))
	if errors.Is(err, fs.ErrNotExist) {
		return math.MaxInt64, nil
	}
	if err != nil {
		return 0, err
	}
	most, err := number(text)
	if err != nil || most == math.MaxInt64 {
		return most, err
	}
	text, err = readSmall(filepath.Join(dir, "pids.current"))
	if err != nil {
		return 0, err
	}
	now, err := number(text)
	return max(most-now, 0), err
}
