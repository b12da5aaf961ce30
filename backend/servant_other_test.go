//go:build !linux

package backend_test

import "syscall"

// as runs a server as somebody.
func as(who *syscall.Credential) *syscall.SysProcAttr { return &syscall.SysProcAttr{Credential: who} }
