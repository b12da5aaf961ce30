//go:build linux && !race

package conn

import "iter"

// coroutine makes one of f. resume has it go on until it rests or is over, which more tells; it is called by one goroutine at a
// time, and always on the thread on which it was called first, if that one is locked.
func coroutine(_ *Server, f func(rest func())) (resume func() (more bool)) {
	next, _ := iter.Pull(func(yield func(struct{}) bool) { f(func() { yield(struct{}{}) }) })
	return func() bool {
		_, more := next()
		return more
	}
}
