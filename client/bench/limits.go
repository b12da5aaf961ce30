//go:build unix

package bench

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/client"
)

// filesOfOurs is what a run has open beside its connections.
const filesOfOurs = 32

// enoughFiles refuses a number of connections that the system would refuse in the middle.
func enoughFiles(connections int) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return nil // then the failures will tell
	}
	need := uint64(connections) + filesOfOurs
	if uint64(lim.Cur) >= need {
		return nil
	}
	return &client.Error{
		Kind: client.KindOptions,
		What: fmt.Sprintf("%d connections need %d open files, and the limit of this process (RLIMIT_NOFILE) is %d", connections, need, lim.Cur),
		Help: []string{
			fmt.Sprintf("raise it for this shell: ulimit -n %d (above the hard limit only as root; for good: LimitNOFILE= of the unit, or limits.conf)", need),
			"the broker needs as many: limits.connections, and LimitNOFILE= of its unit",
		},
	}
}
