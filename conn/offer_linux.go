package conn

import "golang.org/x/sys/unix"

// offer lets another thread that waits for the processor have it first. Meanwhile its place of the runtime is free, and nobody who stops the world waits
// for it.
func offer() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
