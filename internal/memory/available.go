package memory

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Available is what the system gives the process.
type Available struct {
	Bytes int64  // the least of all limits; Unlimited where nothing could be read
	Of    string // which limit that is: a file below /sys/fs/cgroup, or the machine

	// Unread are limits that are there and could not be read or understood. They
	// may be smaller than Bytes; somebody should be told.
	Unread []string
}

func (a Available) String() string { return fmt.Sprintf("%s (%s)", Text(a.Bytes), a.Of) }

// Read finds what the system gives this process. root is the file system from /
// on. Every cgroup from our own up to the root counts, in both hierarchies, and
// so does physical memory: the least of them is what the kernel will enforce. A
// system without these files (any but Linux) is Unlimited.
func Read(root fs.FS) Available {
	r := reader{root: root, found: Available{Bytes: Unlimited, Of: "unknown"}}
	if text, ok := r.file("proc/meminfo", true); ok {
		r.consider(totalOf(text), "memory of the machine", "proc/meminfo")
	}
	mounts, _ := r.file("proc/self/mountinfo", true)
	groups, _ := r.file("proc/self/cgroup", true)
	for _, m := range cgroupMounts(mounts) {
		own, ok := ownGroup(groups, m.v2)
		if !ok {
			continue
		}
		r.hierarchy(m, own)
	}
	return r.found
}

// reader collects limits.
type reader struct {
	root  fs.FS
	found Available
}

// fileMax bounds what is read of one file. mountinfo is the longest: a machine
// with a thousand containers has some hundred KiB of it.
const fileMax = 4 << 20

// file is the content of name, if it can be read. One that is not there is no
// limit; one that is there and unreadable is noted. optional files are not noted.
func (r *reader) file(name string, optional bool) (string, bool) {
	f, err := r.root.Open(name)
	if err == nil {
		defer func() { _ = f.Close() }()
		var b []byte
		if b, err = io.ReadAll(io.LimitReader(f, fileMax)); err == nil {
			return string(b), true
		}
	}
	if !optional && !errors.Is(err, fs.ErrNotExist) {
		r.found.Unread = append(r.found.Unread, fmt.Sprintf("/%s: %v", name, err))
	}
	return "", false
}

// consider takes a limit into account. text is empty where none is set.
func (r *reader) consider(text, of, name string) {
	text = strings.TrimSpace(text)
	if text == "" || text == "max" {
		return
	}
	n, err := parseBytes(text)
	if err != nil {
		r.found.Unread = append(r.found.Unread, fmt.Sprintf("/%s: %q %v", name, text[:min(len(text), 40)], err))
		return
	}
	if n < r.found.Bytes {
		r.found.Bytes, r.found.Of = n, of
	}
}

// parseBytes reads a number of bytes. What is larger than any memory is the
// largest: version 1 writes its "none" as 2^63 rounded down to a page, and once
// as 2^64-1.
func parseBytes(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return Unlimited, nil
	case err != nil:
		return 0, errAbsurd
	}
	return int64(min(n, Unlimited)), nil
}

// totalOf is MemTotal of /proc/meminfo, in bytes.
func totalOf(meminfo string) string {
	for line := range strings.Lines(meminfo) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			if kib, err := strconv.ParseUint(f[1], 10, 50); err == nil {
				return strconv.FormatUint(kib<<10, 10)
			}
			return f[1] // let it be noted
		}
	}
	return ""
}

// mount is where a hierarchy with memory limits is mounted.
type mount struct {
	at   string // without the leading slash
	root string // the cgroup that is seen at the mount point
	v2   bool
}

// cgroupMounts finds them in mountinfo, see proc(5): fields, a dash, and then
// type, source and options.
func cgroupMounts(mountinfo string) (out []mount) {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 1 {
			continue
		}
		v2 := g[0] == "cgroup2"
		v1 := g[0] == "cgroup" && len(g) >= 3 && hasWord(g[2], "memory")
		if at := path.Clean(unescape(f[4])); (v1 || v2) && strings.HasPrefix(at, "/") && at != "/" {
			out = append(out, mount{at: at[1:], root: path.Clean(unescape(f[3])), v2: v2})
		}
	}
	return out
}

// ownGroup is the path of our cgroup in /proc/self/cgroup, which has lines of
// hierarchy:controllers:path; version 2 is hierarchy 0 without controllers.
func ownGroup(groups string, v2 bool) (string, bool) {
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if v2 && f[0] == "0" && f[1] == "" || !v2 && hasWord(f[1], "memory") {
			return path.Clean("/" + f[2]), true
		}
	}
	return "", false
}

// hierarchy considers own and all above it, as far as the mount shows them. Where
// the mount does not show our path (it was made in another cgroup namespace),
// what it shows at its root is the nearest thing to ours.
func (r *reader) hierarchy(m mount, own string) {
	below, ok := strings.CutPrefix(own, strings.TrimSuffix(m.root, "/")+"/")
	if own == m.root || !ok {
		below = ""
	}
	if _, err := fs.Stat(r.root, path.Join(m.at, below)); errors.Is(err, fs.ErrNotExist) {
		below = "" // /proc shows another namespace's path than the mount does
	}
	for dir := path.Join(m.at, below); ; dir = path.Dir(dir) {
		if m.v2 {
			r.limit(dir, "memory.max")
			r.limit(dir, "memory.high") // over it the kernel slows the process until it is useless
		} else {
			r.limit(dir, "memory.limit_in_bytes")
			r.hierarchical(dir)
		}
		if len(dir) <= len(m.at) {
			return
		}
	}
}

// limit considers one file of a cgroup.
func (r *reader) limit(dir, name string) {
	file := path.Join(dir, name)
	if text, ok := r.file(file, false); ok {
		r.consider(text, "/"+file, file)
	}
}

// hierarchical considers what version 1 says of ancestors that the mount may not
// show.
func (r *reader) hierarchical(dir string) {
	file := path.Join(dir, "memory.stat")
	text, ok := r.file(file, false)
	if !ok {
		return
	}
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(line, "hierarchical_memory_limit "); ok {
			r.consider(n, "hierarchical_memory_limit in /"+file, file)
		}
	}
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// unescape undoes what the kernel does to blanks, tabs, newlines and backslashes
// in mountinfo: three octal digits after a backslash.
func unescape(s string) string {
	if !strings.ContainsRune(s, '\\') {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
