package lookup

import (
	"sync/atomic"

	"github.com/redoubtmq/redoubt/auth"
)

// once lets the first answer through. A worker that has caught a bug in what follows an answer
// gives another, since it cannot know whether there was one.
func once[T any](done func(T)) func(T) {
	var given atomic.Bool
	return func(answer T) {
		if given.CompareAndSwap(false, true) {
			done(answer)
		}
	}
}

// onceOwn is once for rules.
func onceOwn(done func(auth.Own, error)) func(auth.Own, error) {
	var given atomic.Bool
	return func(own auth.Own, err error) {
		if given.CompareAndSwap(false, true) {
			done(own, err)
		}
	}
}
