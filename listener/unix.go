package listener

import (
	"net"
	"os"
	"path/filepath"

	"github.com/redoubtmq/redoubt/internal/sockfile"
	"github.com/redoubtmq/redoubt/pki"
)

// Unix is the protocol of listeners whose sockets are files.
const Unix = "unix"

// UnixMode is the mode of such a file, unless Listener.SocketMode says otherwise: who may
// connect is its owner, which is the broker's user, and its group.
const UnixMode os.FileMode = 0o660

// listenUnix opens a socket file. One that a broker left which was stopped is removed;
// anything else in its place is an error. The directory must be one in which only we
// and root can put things: whoever replaces the file is told the passwords.
func listenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if err := pki.CheckDirectory(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if mode == 0 {
		mode = UnixMode
	}
	return sockfile.Listen(path, mode)
}
