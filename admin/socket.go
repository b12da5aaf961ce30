package admin

import (
	"fmt"
	"net"
	"path/filepath"

	"github.com/redoubtmq/redoubt/internal/sockfile"
	"github.com/redoubtmq/redoubt/pki"
)

// socketMode: the file system keeps everybody else away, and the peer credentials do so
// again where it does not.
const socketMode = 0o600

// Listen makes the administration socket. A socket file that a killed broker left is
// removed; anything else in its place is an error (sockfile.Listen). The directory must be
// one in which only we and root can put things.
func Listen(path string) (net.Listener, error) {
	err := pki.CheckDirectory(filepath.Dir(path))
	if err == nil {
		var l net.Listener
		if l, err = sockfile.Listen(path, socketMode); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("administration socket %s: %w (admin.socket is its path)", path, err)
}
