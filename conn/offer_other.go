//go:build !linux

package conn

import "net"

// offer does nothing where nothing is known of the kernel's scheduler.
func offer() {}

// GiveWay does nothing, either.
func GiveWay(net.Conn) {}
