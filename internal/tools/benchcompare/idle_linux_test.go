package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// All threads of a process run only when nobody else wants to.
func TestStrangersComeLast(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestBeingMany$") // a program of Go's, with threads
	cmd.Env = append(cmd.Environ(), "REDOUBT_BEING_MANY=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 1)); err != nil { // it runs, and has threads
		t.Fatal(err)
	}
	whenIdle(cmd.Process.Pid)
	tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "task", "*"))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	for _, path := range tasks {
		tid, _ := strconv.Atoi(filepath.Base(path))
		if a, err := unix.SchedGetAttr(tid, 0); err != nil || a.Policy != unix.SCHED_IDLE {
			t.Errorf("thread %d: %+v, %v", tid, a, err)
		}
	}
}

// TestBeingMany is the program of TestStrangersComeLast: it stays until it is told to end.
func TestBeingMany(t *testing.T) {
	if os.Getenv("REDOUBT_BEING_MANY") == "" {
		return
	}
	_, _ = os.Stdout.WriteString("x")
	_, _ = os.Stdin.Read(make([]byte, 1))
}
