package harden

import (
	"errors"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter of the unit (ProtectClock, ~@privileged), as the kernel has it: the thread may not
// call adjtimex any more, and what we are answered then is what the row takes for a filter.
func TestAFilterRefusesAdjtimex(t *testing.T) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its filter
		program := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_ADJTIMEX, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			done <- err
			return
		}
		if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p))); errno != 0 {
			done <- errno
			return
		}
		_, err := thisHost{}.Clock()
		done <- err
	}()
	if err := <-done; !errors.Is(err, syscall.EPERM) {
		t.Errorf("a filtered thread is answered %v", err)
	}
}
