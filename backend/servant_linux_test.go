package backend_test

import "syscall"

// as runs a server as somebody, and ends it when we end.
func as(who *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGTERM}
}
