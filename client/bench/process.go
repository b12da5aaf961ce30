package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// ticksOfSecond is what Linux counts processor time in for everybody.
const ticksOfSecond = 100

// processUse is the processor time of a process of this machine, in seconds, and its resident
// memory in bytes; 0 where there is no /proc, or no such process.
func processUse(pid int) (cpu float64, resident int64) {
	if pid == 0 {
		return 0, 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	// The name, in brackets, may hold anything; what follows is fields 3 and on.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 22 {
		return 0, 0
	}
	num := func(i int) int64 { n, _ := strconv.ParseInt(string(f[i-3]), 10, 64); return n }
	if cpu, ok := cpuClock(pid); ok {
		return cpu, num(24) * int64(os.Getpagesize())
	}
	return float64(num(14)+num(15)) / ticksOfSecond, num(24) * int64(os.Getpagesize())
}
