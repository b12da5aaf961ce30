package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// twoCores are the first two this process may use, of which neither is a thread of the other's core:
// the broker's and the generator's. threads: there are only threads of one core.
func twoCores() (cores [2]int, threads bool, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return cores, false, err
	}
	var allowed []int
	for i := range 1024 {
		if set.IsSet(i) {
			allowed = append(allowed, i)
		}
	}
	if len(allowed) < 2 {
		return cores, false, errors.New("this process may use one core, and the comparison needs two: one for the broker and one for the generator, which would measure itself otherwise")
	}
	text, _ := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", allowed[0])) // without it they are taken for cores
	cores, threads = apart(allowed, cpuList(string(text)))
	return cores, threads, nil
}

// apart picks two of those that are allowed; siblings are the threads of the first one's core.
func apart(allowed, siblings []int) (cores [2]int, threads bool) {
	for _, c := range allowed[1:] {
		if !slices.Contains(siblings, c) {
			return [2]int{allowed[0], c}, false
		}
	}
	return [2]int{allowed[0], allowed[1]}, true
}

// cpuList reads a list of the kernel's, "0,4" or "0-1".
func cpuList(text string) (list []int) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		low, high, ranged := strings.Cut(part, "-")
		a, err := strconv.Atoi(low)
		b := a
		if err == nil && ranged {
			b, err = strconv.Atoi(high)
		}
		for i := a; err == nil && i <= b; i++ {
			list = append(list, i)
		}
	}
	return list
}

// startOn starts a program on some cores: it and its threads inherit the thread's.
func startOn(cmd *exec.Cmd, cores ...int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, some unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	for _, c := range cores {
		some.Set(c)
	}
	if err := unix.SchedSetaffinity(0, &some); err != nil {
		return err
	}
	err := cmd.Start()
	if back := unix.SchedSetaffinity(0, &before); err == nil {
		err = back
	}
	return err
}
