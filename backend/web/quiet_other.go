//go:build !unix

package web

import "net"

// quiet cannot be known here, so that each question has a connection of its own.
func quiet(net.Conn) bool { return false }
