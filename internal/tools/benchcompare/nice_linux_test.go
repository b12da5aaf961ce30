package main

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// A program that comes after others keeps what it is to them, and a process that has ended is nobody's fault.
func TestNice(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	before, err := unix.SchedGetAttr(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	for _, value := range []int{int(before.Nice) + 1, int(before.Nice) + 3} { // up is always allowed
		nice(pid, min(19, value))
		if a, err := unix.SchedGetAttr(pid, 0); err != nil || int(a.Nice) != min(19, value) {
			t.Errorf("%+v, %v: want a nice value of %d", a, err, min(19, value))
		}
	}
	nice(1<<22, 1) // no process has it
}
