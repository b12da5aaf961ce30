package harden

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/config"
)

// sockets is what the kernel says the broker listens on, which is what probes go
// to: a configuration lists what was meant.
type sockets struct {
	list    []socket
	trouble error // why there is no list
}

// socket is one that the process listens on.
type socket struct {
	network string         // tcp, udp, unix
	addr    netip.AddrPort // of tcp and udp
	path    string         // of unix
	inode   uint64

	name     string // listener or service that says it is its own; empty: nobody does
	key      string // of the configuration
	protocol string // of a listener
	draining bool   // it takes nobody any more, and carries who came before
	host     string // by which clients reach it, where it is no socket of ours; see advertised
}

func (s *socket) String() string {
	if s.network == "unix" {
		return "unix:" + shortened(s.path)
	}
	return s.network + ":" + s.addr.String()
}

// listening is every listening socket of the broker, asked for once a run.
func (e *Env) listening(ctx context.Context) ([]socket, error) {
	if e.seen.sockets == nil {
		e.seen.sockets = &sockets{}
		e.seen.sockets.list, e.seen.sockets.trouble = e.findSockets(ctx)
	}
	return e.seen.sockets.list, e.seen.sockets.trouble
}

func (e *Env) findSockets(ctx context.Context) ([]socket, error) {
	b, err := e.broker(ctx)
	if err != nil {
		return nil, err
	}
	if b.PID <= 0 {
		return nil, errors.New("the process id of the broker is not known here; it may run in another container: run redoubt doctor inside it")
	}
	if err := e.sameNetwork(b.PID); err != nil {
		return nil, err
	}
	open := e.descriptors(b.PID)
	if err := open.trouble; err != nil {
		return nil, fmt.Errorf("the sockets of process %d cannot be listed: %w; run redoubt doctor as root", b.PID, err)
	}
	tcp, err := e.tcpListeners(b.PID)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(tcp)
	for _, file := range []string{"udp", "udp6"} {
		found, err := e.inetTable(b.PID, file, "udp", "07")
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	text, err := e.readProc(b.PID, filepath.Join("net", "unix"))
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(text, []byte("Num ")) { // a table that is not there holds no socket either
		return nil, fmt.Errorf("/proc/%d/net/unix: it has no head", b.PID)
	}
	all = append(all, parseUnix(text)...)
	all = slices.DeleteFunc(all, func(s socket) bool { return !open.inodes[s.inode] })
	if len(all) == 0 {
		return nil, fmt.Errorf("the kernel lists no listening socket of process %d, although it answered on one", b.PID)
	}
	for i := range all {
		e.recognise(&all[i], b)
	}
	return all, nil
}

// inetTable is the sockets in a state that a table of the process's network has. One of IPv6 may be
// missing where the kernel has no IPv6, and nowhere else.
func (e *Env) inetTable(pid int, file, network, state string) ([]socket, error) {
	found, err := e.inet(pid, file, network, state)
	if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(file, "6") {
		if _, none := os.Lstat(filepath.Join(e.proc(), strconv.Itoa(pid), "net", "if_inet6")); errors.Is(none, os.ErrNotExist) {
			return nil, nil
		}
	}
	return found, err
}

// sameNetwork makes sure that dialling an address reaches the broker's.
func (e *Env) sameNetwork(pid int) error {
	theirs, err := os.Readlink(filepath.Join(e.proc(), strconv.Itoa(pid), "ns", "net"))
	if err != nil {
		return fmt.Errorf("the network of process %d cannot be told: %w; run redoubt doctor as the broker's user or root", pid, err)
	}
	ours, err := os.Readlink(filepath.Join(e.proc(), "self", "ns", "net"))
	if err != nil {
		return fmt.Errorf("our own network cannot be told: %w", err)
	}
	if theirs != ours {
		return fmt.Errorf("the broker is in another network namespace; run redoubt doctor inside it: nsenter -n -t %d redoubt doctor", pid)
	}
	return nil
}

// inetSocketsMax bounds the sockets of one table that are in the state asked for.
const inetSocketsMax = 100_000

// inet reads a table of the network of a process. It has a line for every connection, of
// which clients make as many as they may: it is gone through, and not kept.
func (e *Env) inet(pid int, file, network, state string) ([]socket, error) {
	f, err := e.openProc(pid, filepath.Join("net", file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := parseInet(breather{f, e}, network, state)
	if err != nil {
		return nil, fmt.Errorf("/proc/%d/net/%s: %w", pid, file, err)
	}
	return found, nil
}

// parseInet reads /proc/net/tcp and its kin and answers the sockets in a state.
// A UDP socket with a peer is a client's.
func parseInet(table io.Reader, network, state string) ([]socket, error) {
	var out []socket
	lines := bufio.NewScanner(table)
	if !lines.Scan() || !bytes.HasPrefix(bytes.TrimSpace(lines.Bytes()), []byte("sl ")) { // a table that is not there holds no socket either
		return nil, errors.Join(errors.New("it has no head"), lines.Err())
	}
	var room [10][]byte // of each line that is in the state; of others, the first four
	for n := 2; lines.Scan(); n++ {
		line, f := lines.Bytes(), room[:]
		switch had := split(line, f[:4]); {
		case had == 0:
			continue
		case had < 4:
			return nil, fmt.Errorf("line %d has %d fields", n, had)
		case string(f[3]) != state:
			continue
		}
		if had := split(line, f); had < len(f) {
			return nil, fmt.Errorf("line %d has %d fields", n, had)
		}
		addr, err := parseHexAddr(string(f[1]))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		inode, err := strconv.ParseUint(string(f[9]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if network == "udp" {
			if peer, err := parseHexAddr(string(f[2])); err == nil && peer.Port() != 0 {
				continue
			}
		}
		if len(out) == inetSocketsMax {
			return nil, fmt.Errorf("it lists more than %d of them", inetSocketsMax)
		}
		out = append(out, socket{network: network, addr: addr, inode: inode})
	}
	return out, lines.Err()
}

// parseHexAddr reads the kernel's form: words of four bytes in the byte order of
// the machine, a colon, the port.
func parseHexAddr(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", s)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), nil
}

// parseUnix reads /proc/net/unix and answers the sockets that listen.
func parseUnix(text []byte) []socket {
	const accepts = "00010000" // __SO_ACCEPTCON
	var out []socket
	var room [4][]byte
	for line := range bytes.Lines(text) {
		if split(line, room[:]) < 4 || string(room[3]) != accepts {
			continue
		}
		f := strings.Fields(string(line))
		if len(f) < 7 {
			continue
		}
		inode, err := strconv.ParseUint(f[6], 10, 64)
		if err != nil {
			continue
		}
		s := socket{network: "unix", inode: inode}
		if len(f) > 7 {
			s.path = strings.Join(f[7:], " ")
		}
		out = append(out, s)
	}
	return out
}

// enrolment is the protocol that the broker gives for the port of enroll.bind.
const enrolment = "https"

// recognise finds who says that a socket is its own.
func (e *Env) recognise(s *socket, b *BrokerReport) {
	if s.network == "unix" {
		if s.path == e.Config.Admin.Socket {
			s.name, s.key = "administration", "admin.socket"
			return
		}
		s.recogniseFile(b)
		return
	}
	for _, l := range b.Listeners {
		if (l.Protocol == config.ProtocolQUIC) != (s.network == networkUDP) {
			continue
		}
		if a, err := netip.ParseAddrPort(l.Address); err == nil && sameAddr(a, s.addr) {
			s.name, s.key, s.protocol = l.Name, "listeners."+l.Name, l.Protocol
			switch l.Protocol {
			case enrolment:
				s.key, s.protocol = "enroll", "" // no client of MQTT has business there
			}
			return
		}
	}
	if s.network != "tcp" {
		s.recogniseDraining(b)
		return
	}
	for _, bind := range e.Config.Metrics.Bind {
		if a, err := netip.ParseAddrPort(bind); err == nil && sameAddr(a, s.addr) {
			s.name, s.key = "metrics", "metrics"
			return
		}
	}
}

// sameAddr compares what was said with what the kernel lists. Go prints a
// wildcard of both families as [::], and so does the kernel.
func sameAddr(said, listed netip.AddrPort) bool {
	return said.Port() == listed.Port() && said.Addr().Unmap().WithZone("") == listed.Addr()
}
