package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports that tests hand out. They are none of those that systems give to whoever connects
// somewhere: with thousands of clients one would have it a moment later.
const (
	firstPort  = 10_000
	portBlocks = 220
	blockPorts = 100
)

// ports are those this process hands out: each once, out of blocks that are its own, so that
// neither another test nor another package's, which runs at the same time, gets the same one
// between being told and listening.
var ports struct {
	mu     sync.Mutex     // guards all below
	claims []net.Listener // on the first port of each block: whoever has it has the block
	next   int            // not handed out yet, below end
	end    int
}

// FreePort is a loopback port that nobody listens on, and that no other call is told.
func FreePort(t testing.TB) int {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for {
		for ports.next < ports.end {
			port := ports.next
			ports.next++
			if l, err := listenOn(port); err == nil {
				_ = l.Close()
				return port
			}
		}
		if !claimBlock() {
			t.Fatalf("there is no free port from %d to %d", firstPort, firstPort+portBlocks*blockPorts-1)
		}
	}
}

// claimBlock takes a block that nobody has, beginning anywhere.
func claimBlock() bool {
	from := rand.IntN(portBlocks)
	for i := range portBlocks {
		first := firstPort + (from+i)%portBlocks*blockPorts
		l, err := listenOn(first)
		if err != nil {
			continue
		}
		ports.claims = append(ports.claims, l) // kept open while the process lives
		ports.next, ports.end = first+1, first+blockPorts
		return true
	}
	return false
}

func listenOn(port int) (net.Listener, error) {
	return net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
}
