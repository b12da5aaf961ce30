package main

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// One core is too few, and it is said; a program that is started on one has that one.
func TestCores(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	first := 0
	for !all.IsSet(first) {
		first++
	}
	cmd := exec.Command("grep", "Cpus_allowed_list", "/proc/self/status")
	var out strings.Builder
	cmd.Stdout = &out
	if err := startOn(cmd, first); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || strings.Fields(out.String())[1] != "0" && first == 0 {
		t.Errorf("it runs on %q, %v", out.String(), err)
	}
	one.Set(first)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	if _, _, err := twoCores(); err == nil || !strings.Contains(err.Error(), "needs two") {
		t.Errorf("with one core: %v", err)
	}
}

func TestFileSystemsInMemory(t *testing.T) {
	const ext4, tmpfs = 0xef53, 0x01021994
	if inMemory(ext4) || !inMemory(tmpfs) {
		t.Error("file systems are mistaken for each other")
	}
	if keptInMemory("/proc") || keptInMemory("/nowhere") {
		t.Error("what is no such file system is taken for one")
	}
}

// The generator's core is another one, and no thread of the broker's, where there is any.
func TestCoresAreApart(t *testing.T) {
	for _, c := range []struct {
		allowed []int
		list    string
		second  int
		threads bool
	}{
		{[]int{0, 1, 2, 3}, "0-1\n", 2, false},
		{[]int{0, 1, 2, 3}, "0,2\n", 1, false},
		{[]int{4, 12}, "4,12\n", 12, true},
		{[]int{0, 1}, "0\n", 1, false},
		{[]int{0, 1}, "", 1, false},
		{[]int{0, 1}, "x-3\n", 1, false},
	} {
		cores, threads := apart(c.allowed, cpuList(c.list))
		if cores != [2]int{c.allowed[0], c.second} || threads != c.threads {
			t.Errorf("of %v with threads %q: %v, %t", c.allowed, c.list, cores, threads)
		}
	}
}
