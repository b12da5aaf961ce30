package harden

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// descriptors is what a process has open. There may be a million.
type descriptors struct {
	count int64
	// inodes are of its sockets. Of our own process they are those that listen or have no
	// connections: nothing else is looked for among them.
	inodes  map[uint64]bool
	trouble error
}

// descriptorsBatch is how many are looked at between two rests at most.
const descriptorsBatch = 256

// descriptors are those of a process, looked at once a run.
func (e *Env) descriptors(pid int) *descriptors {
	if e.seen.descriptors == nil {
		e.seen.descriptors = e.findDescriptors(pid)
	}
	return e.seen.descriptors
}

func (e *Env) findDescriptors(pid int) *descriptors {
	if pid == os.Getpid() && e.proc() == procOfKernel {
		if d := e.ownDescriptors(); d.trouble == nil {
			return d
		}
	}
	return e.listedDescriptors(pid)
}

// ownDescriptors asks each number that our own process may have open what it is. The kernel makes an
// entry of its file system for each descriptor that it lists, and for this none, and it leaves no garbage.
func (e *Env) ownDescriptors() *descriptors {
	d := &descriptors{inodes: map[uint64]bool{}}
	slots, err := e.descriptorSlots(os.Getpid())
	if err != nil {
		return &descriptors{trouble: err}
	}
	for fd := range slots {
		if fd%descriptorsBatch == 0 {
			e.breathe()
		}
		open, inode, err := ownDescriptor(fd)
		if err != nil {
			return &descriptors{trouble: err}
		}
		if open {
			d.count++
		}
		if inode != 0 {
			d.inodes[inode] = true
		}
	}
	return d
}

// descriptorSlots is how many numbers the table of a process has room for.
func (e *Env) descriptorSlots(pid int) (int, error) {
	text, err := e.readProc(pid, "status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("FDSize:")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(rest)), 10, 31)
			return int(n), err
		}
	}
	return 0, errors.New("FDSize is not in it")
}

// listedDescriptors goes through the list that the kernel has of a process.
func (e *Env) listedDescriptors(pid int) *descriptors {
	dir, err := os.Open(filepath.Join(e.proc(), strconv.Itoa(pid), "fd"))
	if err != nil {
		return &descriptors{trouble: err}
	}
	defer dir.Close()
	d := &descriptors{inodes: map[uint64]bool{}}
	links := newLinks(dir)
	for {
		e.breathe()
		names, err := dir.Readdirnames(descriptorsBatch)
		for _, name := range names {
			d.count++
			link, err := links.read(name)
			if err != nil {
				continue // closed since
			}
			if rest, ok := bytes.CutPrefix(link, []byte("socket:[")); ok {
				if n, ok := decimal(bytes.TrimSuffix(rest, []byte("]"))); ok {
					d.inodes[n] = true
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return d
		}
		if err != nil {
			return &descriptors{trouble: err}
		}
	}
}

// decimal is strconv.ParseUint of bytes.
func decimal(b []byte) (n uint64, ok bool) {
	const digits = 19 // always fit
	if len(b) == 0 || len(b) > digits {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// tcpListeners are the TCP sockets that listen in the network of a process, asked for once a run. A
// kernel that answers sock_diag(7) tells them alone, however many connections there are; where
// there is any doubt about its answer, or the network is another one, the tables are read.
func (e *Env) tcpListeners(pid int) ([]socket, error) {
	if e.seen.tcp == nil {
		e.seen.tcp = &sockets{}
		e.seen.tcp.list, e.seen.tcp.trouble = e.findListeners(pid)
	}
	return e.seen.tcp.list, e.seen.tcp.trouble
}

func (e *Env) findListeners(pid int) ([]socket, error) {
	if e.proc() == procOfKernel && e.sameNetwork(pid) == nil {
		if told, err := e.host().Listening(); err == nil && len(told) > 0 { // none is no answer to count on
			all := make([]socket, 0, len(told))
			for i := range told {
				all = append(all, socket{network: "tcp", addr: told[i].Addr, inode: told[i].Inode})
			}
			return all, nil
		}
	}
	var all []socket
	for _, file := range []string{"tcp", "tcp6"} {
		found, err := e.inetTable(pid, file, "tcp", "0A")
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// split cuts a line at its blanks, into as many fields as there is room for, and leaves no garbage.
func split(line []byte, into [][]byte) (n int) {
	for at := 0; n < len(into); n++ {
		for at < len(line) && blank(line[at]) {
			at++
		}
		begin := at
		for at < len(line) && !blank(line[at]) {
			at++
		}
		if begin == at {
			return n
		}
		into[n] = line[begin:at]
	}
	return n
}

func blank(c byte) bool { return c == ' ' || c == '\t' }
