// Package disk is the little that a log asks of a file system, as an interface:
// the real one is OpenDir, and tests bring one that loses power, fills up and
// lies. It holds no policy: what to do about an error is the caller's business.
//
// A folder is one value, and names have no slashes, so that nothing outside it
// can be reached by a name. Files are made with mode 0600, the folder with 0700.
package disk

import "io"

// Dir is one folder. Implementations are safe for concurrent use.
type Dir interface {
	// Lock takes the folder for this process; it never waits. The error of a folder
	// in use names the holder if it is known.
	Lock() (release func(), err error)
	// List answers the names of the files, sorted.
	List() ([]string, error)
	// Create makes a file that must not exist yet, for reading and writing.
	Create(name string) (File, error)
	// Open opens a file for reading, and for writing if asked.
	Open(name string, write bool) (File, error)
	// Rename replaces whatever was called to.
	Rename(from, to string) error
	Remove(name string) error
	// Sync makes durable what Create, Rename and Remove did.
	Sync() error
	// Free is how many bytes this process could still write.
	Free() (uint64, error)
}

// File is an open file. WriteAt may write less than it was given, with an error.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes the content and the length durable. After an error nobody knows
	// what is on the disk, and a second Sync may say that all is well (PostgreSQL's
	// "fsyncgate", 2018): callers must not try again.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}
