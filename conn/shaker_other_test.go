//go:build !linux

package conn

// shakersOf is how many threads of handshakes an engine has.
func shakersOf(Engine) int { return 0 }
