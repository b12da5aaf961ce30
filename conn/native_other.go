//go:build !linux

package conn

// Native is the engine for this system.
func Native(s *Server) Engine { return NewPortable(s) }
