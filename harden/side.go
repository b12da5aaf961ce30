package harden

import "sync"

// levels are the protocol levels that entrances are tried on.
var levels = []byte{level5, level4, level3}

// sideBySide is how many entrances are judged at the same time. What takes the time is
// waiting: for a broker that hashes, and for what must not come. The rate of connections is
// that of one; see pace.
const sideBySide = 8

// each judges entrances side by side and answers in their order. It returns when all are done.
func each(eps []*endpoint, judge func(*endpoint) Result) []Result {
	out := make([]Result, len(eps))
	places := make(chan struct{}, sideBySide)
	var all sync.WaitGroup
	for i, p := range eps {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			out[i] = judge(p)
		})
	}
	all.Wait()
	return out
}
