package conn

import (
	"fmt"
	"log/slog"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/listener"
)

// hail writes down which process has connected to a socket file, once a minute and
// user: the kernel says who, at the time of connecting, and nobody can forge it. It is
// no proof of identity for MQTT.
func (p *epoller) hail(l *listener.Listener, fd int) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return
	}
	p.engine.server.broker.Log().Stranger(p.loop.now, slog.LevelInfo, "a process connected to a socket file", netip.Addr{}, fmt.Sprint("uid ", cred.Uid), func() []slog.Attr {
		return []slog.Attr{slog.String("listener", l.Name), slog.Int("uid", int(cred.Uid)), slog.Int("gid", int(cred.Gid)), slog.Int("pid", int(cred.Pid))}
	})
}
