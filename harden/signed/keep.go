package signed

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What a node keeps in its data directory. The owner of that is the broker's user, and who signs
// may be root: no link is followed, and what is made belongs to the owner.
const (
	// KeyName is the key of the node, mode 0600. It is made when something is signed first.
	KeyName = "node.key"
	// FolderName has the last reports, NUMBER.json.
	FolderName = "reports"
)

// How many reports are kept, and how much they may take; the last two stay whatever they take.
const (
	keptMax      = 32
	keptBytesMax = 16 << 20
	keptLeast    = 2
)

// entriesMax is how many files are looked at where the reports are: the owner can put any number there.
const entriesMax = 10_000

// keyBytesMax is more than a file with the key has.
const keyBytesMax = 4096

// Link is the place of a text in the chain of a node.
type Link struct {
	Sequence uint64 `json:"sequence"`        // 1, 2, ...
	Previous string `json:"previous_sha256"` // Hash of the one before; "" of the first
}

// node is a data directory that is being written to, by nobody else meanwhile.
type node struct {
	root   *os.Root
	folder *os.File // is locked
	owner  *syscall.Stat_t
}

func openNode(dir string, how access) (_ *node, err error) {
	n := &node{}
	if n.root, n.owner, err = OpenOwned(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if how == read {
		return n, nil
	}
	err = n.root.Mkdir(FolderName, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := n.openFolder(made); err != nil {
		return nil, err
	}
	return n, n.lock(how)
}

// openFolder opens that of the reports, and gives it to the owner if it was made just now. By its
// descriptor: the owner may have put something of somebody else's there meanwhile, which a name would give
// away; and a pipe is not waited for.
func (n *node) openFolder(made bool) error {
	before, err := n.root.Lstat(FolderName)
	if err != nil || !before.IsDir() {
		return errors.Join(err, fmt.Errorf("%s in the data directory is no folder", FolderName))
	}
	if n.folder, err = n.root.OpenFile(FolderName, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0); err != nil {
		return err
	}
	fi, err := n.folder.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(before, fi) {
		return fmt.Errorf("%s in the data directory was exchanged", FolderName)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); made && ok && st.Uid == 0 && os.Geteuid() == 0 {
		return n.folder.Chown(int(n.owner.Uid), int(n.owner.Gid))
	}
	return nil
}

// lockWithin bounds the wait for another one that writes. The owner can hold the lock as long as
// he likes, and who signs may be root.
const (
	lockWithin = 10 * time.Second
	lockEvery  = 50 * time.Millisecond
)

// lock keeps others from writing; it ends with the descriptor, and is held for a write.
func (n *node) lock(how access) error {
	try := time.NewTicker(lockEvery)
	defer try.Stop()
	for left := lockWithin; ; {
		err := syscall.Flock(int(n.folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return err
		case how == writeNow || left <= 0:
			return errors.New("another process keeps a report right now")
		default:
			<-try.C
			left -= lockEvery
		}
	}
}

// access is what a data directory is opened for.
type access int

const (
	read     access = iota
	write           // waits some time for who else writes
	writeNow        // does not
)

func (n *node) close() {
	if n.folder != nil {
		_ = n.folder.Close()
	}
	_ = n.root.Close()
}

// write replaces a file, whole or not at all.
func (n *node) write(name string, text []byte) (err error) {
	next := filepath.Join(filepath.Dir(name), ".new-"+rand.Text())
	f, err := n.root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // a link of that name is an error
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = n.root.Remove(next)
		}
	}()
	_, err = f.Write(text)
	if err == nil && os.Geteuid() == 0 {
		err = f.Chown(int(n.owner.Uid), int(n.owner.Gid))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return n.root.Rename(next, name) // replaces a link, and does not follow it
}

// read is a regular file of the owner's, or our own.
func (n *node) read(name string, most int64) ([]byte, fs.FileMode, error) {
	before, err := n.root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	f, err := n.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !before.Mode().IsRegular() || !os.SameFile(before, fi):
		return nil, 0, fmt.Errorf("%s in the data directory is no file, or was exchanged", name)
	case st != nil && st.Nlink != 1: // what root may read may be something that the owner may not
		return nil, 0, fmt.Errorf("%s in the data directory has another name elsewhere", name)
	case !ok || st.Uid != n.owner.Uid && int(st.Uid) != os.Geteuid():
		return nil, 0, fmt.Errorf("%s in the data directory is somebody else's", name)
	case fi.Size() > most:
		return nil, 0, fmt.Errorf("%s in the data directory is larger than %d bytes", name, most)
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	return text, fi.Mode(), err
}

// key reads the node's, and makes it where there is none and create is true.
func (n *node) key(create bool) (ed25519.PrivateKey, error) {
	text, mode, err := n.read(KeyName, keyBytesMax)
	if errors.Is(err, fs.ErrNotExist) && create {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return nil, err
		}
		return private, n.write(KeyName, pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der}))
	}
	if err != nil {
		return nil, err
	}
	if mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s in the data directory has mode %04o, and others may read it: chmod 600 it, and take what it has signed for nobody's", KeyName, mode.Perm())
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemPrivate {
		return nil, fmt.Errorf("%s in the data directory has no PRIVATE KEY in PEM; move it away, and the next report makes another", KeyName)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("the key in %s of the data directory is not one of Ed25519; move it away, and the next report makes another", KeyName)
	}
	return private, nil
}

// Public is the key by which the reports of a node are verified. It makes none: fs.ErrNotExist
// means that nothing was signed yet.
func Public(dir string) (ed25519.PublicKey, error) {
	n, err := openNode(dir, read)
	if err != nil {
		return nil, err
	}
	defer n.close()
	key, err := n.key(false)
	if err != nil {
		return nil, err
	}
	return key.Public().(ed25519.PublicKey), nil
}

// Append makes the next text of the chain of a node, signs and keeps it. compose is told its place.
// It waits for another process that does the same, with wait; without, that is an error.
func Append(dir string, wait bool, compose func(Link) ([]byte, error)) (text []byte, at Link, err error) {
	how := writeNow
	if wait {
		how = write
	}
	n, err := openNode(dir, how)
	if err != nil {
		return nil, at, err
	}
	defer n.close()
	key, err := n.key(true)
	if err != nil {
		return nil, at, err
	}
	kept, err := n.kept()
	if err != nil {
		return nil, at, err
	}
	at.Sequence = 1
	if len(kept) > 0 {
		last := kept[len(kept)-1]
		if last.sequence == math.MaxUint64 {
			return nil, at, fmt.Errorf("%s in the data directory has no number after it; move it away", last.path())
		}
		before, _, err := n.read(last.path(), BytesMax)
		if err != nil {
			return nil, at, err
		}
		at = Link{last.sequence + 1, Hash(before)} // whatever is in there: who verifies will see
	}
	payload, err := compose(at)
	if err != nil {
		return nil, at, err
	}
	if text, err = Sign(key, payload); err != nil {
		return nil, at, err
	}
	if err := n.write(report{sequence: at.Sequence}.path(), text); err != nil {
		return nil, at, err
	}
	n.forget(append(kept, report{at.Sequence, int64(len(text))}))
	return text, at, nil
}

// report is one that is kept.
type report struct {
	sequence uint64
	bytes    int64
}

func (r report) path() string { return fmt.Sprintf("%s/%010d.json", FolderName, r.sequence) }

// kept lists the reports, oldest first. Other files are nobody's business here.
func (n *node) kept() (all []report, err error) {
	entries, err := n.folder.ReadDir(entriesMax + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > entriesMax {
		return nil, fmt.Errorf("%s in the data directory has more than %d files; move away what is no report", FolderName, entriesMax)
	}
	for _, d := range entries {
		digits, ok := strings.CutSuffix(d.Name(), ".json")
		sequence, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil || (report{sequence: sequence}).path() != FolderName+"/"+d.Name() {
			continue
		}
		fi, err := d.Info()
		if err != nil {
			continue // gone since
		}
		all = append(all, report{sequence, fi.Size()})
	}
	slices.SortFunc(all, func(a, b report) int {
		if a.sequence < b.sequence {
			return -1
		}
		return 1
	})
	return all, nil
}

// forget removes the oldest, and what a write that was cut off has left.
func (n *node) forget(all []report) {
	total := int64(0)
	for _, r := range all {
		total += r.bytes
	}
	for len(all) > keptLeast && (len(all) > keptMax || total > keptBytesMax) {
		_ = n.root.Remove(all[0].path()) // what stays is removed with the next
		total -= all[0].bytes
		all = all[1:]
	}
	stale, err := n.root.Open(FolderName)
	if err != nil {
		return
	}
	defer stale.Close()
	names, _ := stale.Readdirnames(entriesMax)
	for _, name := range names {
		if strings.HasPrefix(name, ".new-") {
			_ = n.root.Remove(FolderName + "/" + name)
		}
	}
}
