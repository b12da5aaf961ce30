//go:build linux && race

package conn

// coroutine is one of the runtime's where there is no race detector. With it (Go 1.26) a coroutine that is over leaves the detector's
// account of its goroutine behind, 6 KB each, and after some thousands the detector itself fails. So here it is a goroutine that is waited
// for.
func coroutine(s *Server, f func(rest func())) (resume func() (more bool)) {
	goOn, rested := make(chan struct{}), make(chan bool)
	begun := false
	return func() bool {
		if begun {
			goOn <- struct{}{}
		} else {
			begun = true
			go func() {
				s.guard(func() {
					f(func() {
						rested <- true
						<-goOn
					})
				}, func() {})
				rested <- false
			}()
		}
		return <-rested
	}
}
