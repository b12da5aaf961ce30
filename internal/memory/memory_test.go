package memory

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// tree is a file system with these files; "!" as content is one that cannot be
// read.
func tree(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return guarded{m}
}

// guarded refuses to open files that hold "!".
type guarded struct{ fstest.MapFS }

func (g guarded) Open(name string) (fs.File, error) {
	if f := g.MapFS[name]; f != nil && string(f.Data) == "!" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return g.MapFS.Open(name)
}

// Lines as kernels print them.
const (
	ram    = "MemTotal:        4194304 kB\nMemFree:          100 kB\n" // 4 GiB
	unmap  = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
	v2Here = unmap + "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	v1Here = unmap + "31 22 0:27 / /sys/fs/cgroup/cpu rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n" +
		"32 22 0:28 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory\n"
	hybrid = v1Here + "33 22 0:29 / /sys/fs/cgroup/unified rw shared:12 - cgroup2 cgroup2 rw\n"
	none1  = "9223372036854771712\n"
)

func TestRead(t *testing.T) {
	service := "sys/fs/cgroup/system.slice/redoubt.service/"
	for name, c := range map[string]struct {
		files  map[string]string
		want   int64
		of     string // part of
		unread int
	}{
		"no Linux": {nil, Unlimited, "unknown", 0},
		"physical memory only": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/\n", "proc/self/mountinfo": unmap},
			4 << 30, "memory of the machine", 0},
		"version 2, own": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/system.slice/redoubt.service\n", "proc/self/mountinfo": v2Here,
			service + "memory.max": "536870912\n", service + "memory.high": "max\n", "sys/fs/cgroup/system.slice/memory.max": "max\n"},
			512 << 20, "/" + service + "memory.max", 0},
		"version 2, high is less than max": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/system.slice/redoubt.service\n", "proc/self/mountinfo": v2Here,
			service + "memory.max": "536870912\n", service + "memory.high": "268435456\n"},
			256 << 20, "memory.high", 0},
		"version 2, an ancestor has less": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/system.slice/redoubt.service\n", "proc/self/mountinfo": v2Here,
			service + "memory.max": "536870912\n", "sys/fs/cgroup/system.slice/memory.max": "134217728\n"},
			128 << 20, "/sys/fs/cgroup/system.slice/memory.max", 0},
		"version 2, the ancestor's memory.high": {map[string]string{"proc/self/cgroup": "0::/a/b/c/d\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/a/b/c/d/memory.max": "max", "sys/fs/cgroup/a/memory.high": "200000000"}, 200_000_000, "/sys/fs/cgroup/a/memory.high", 0},
		"version 2, max everywhere": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/system.slice/redoubt.service\n", "proc/self/mountinfo": v2Here,
			service + "memory.max": "max\n", service + "memory.high": "max\n"},
			4 << 30, "memory of the machine", 0},
		"version 2, more than there is": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/x\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/x/memory.max": "99999999999999"}, 4 << 30, "memory of the machine", 0},
		"version 2 in a container with its own namespace": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/memory.max": "300000000\n"}, 300_000_000, "/sys/fs/cgroup/memory.max", 0},
		"version 2, the host's path in a container": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/docker/abc\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/memory.max": "300000000\n"}, 300_000_000, "/sys/fs/cgroup/memory.max", 0},
		"version 2, outside of the namespace": {map[string]string{"proc/self/cgroup": "0::/../../other\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/memory.max": "300000000\n"}, 300_000_000, "/sys/fs/cgroup/memory.max", 0},
		"version 1": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n", "proc/self/mountinfo": v1Here,
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "134217728\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": none1},
			128 << 20, "docker/abc/memory.limit_in_bytes", 0},
		"version 1, none": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": v1Here,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": none1}, 4 << 30, "memory of the machine", 0},
		"version 1, 2^64-1": {map[string]string{"proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": v1Here,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "18446744073709551615"}, Unlimited, "unknown", 0},
		"version 1, an ancestor has less": {map[string]string{"proc/self/cgroup": "4:memory:/a/b\n", "proc/self/mountinfo": v1Here,
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": none1, "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "200000000"},
			200_000_000, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", 0},
		"version 1, an ancestor that the mount does not show": {map[string]string{"proc/self/cgroup": "4:memory:/docker/abc\n",
			"proc/self/mountinfo":                        unmap + "32 22 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup ro,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": none1, "sys/fs/cgroup/memory/memory.stat": "cache 0\nhierarchical_memory_limit 150000000\nhierarchical_memsw_limit 1\n"},
			150_000_000, "hierarchical_memory_limit", 0},
		"the mount shows a part": {map[string]string{"proc/self/cgroup": "0::/kubepods/pod1/c1\n",
			"proc/self/mountinfo":            "30 22 0:26 /kubepods/pod1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			"sys/fs/cgroup/memory.max":       "400000000",
			"sys/fs/cgroup/c1/memory.max":    "300000000",
			"sys/fs/cgroup/kubepods/x":       "",
			"sys/fs/cgroup/other/memory.max": "1"}, 300_000_000, "/sys/fs/cgroup/c1/memory.max", 0},
		"hybrid, the limit in version 1": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "4:memory:/g\n0::/g\n", "proc/self/mountinfo": hybrid,
			"sys/fs/cgroup/memory/g/memory.limit_in_bytes": "134217728", "sys/fs/cgroup/unified/g/cgroup.procs": "1"},
			128 << 20, "memory/g/memory.limit_in_bytes", 0},
		"hybrid, the limit in version 2": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "4:memory:/g\n0::/h\n", "proc/self/mountinfo": hybrid,
			"sys/fs/cgroup/memory/g/memory.limit_in_bytes": none1, "sys/fs/cgroup/unified/h/memory.max": "100000000"},
			100_000_000, "unified/h/memory.max", 0},
		"unreadable": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/a/b/memory.max": "!", "sys/fs/cgroup/a/memory.max": "200000000"}, 200_000_000, "/sys/fs/cgroup/a/memory.max", 1},
		"odd numbers": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/a/memory.max": "-1", "sys/fs/cgroup/a/memory.high": "12 MB"}, 4 << 30, "memory of the machine", 2},
		"an empty file is no limit": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/a/memory.max": "\n"}, 4 << 30, "memory of the machine", 0},
		"nothing at all": {map[string]string{"proc/meminfo": ram, "proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/a/memory.max": "0"}, 0, "/sys/fs/cgroup/a/memory.max", 0},
		"a blank in the name": {map[string]string{"proc/self/cgroup": "0::/my group\n", "proc/self/mountinfo": "30 22 0:26 / /mnt/c\\040g rw - cgroup2 none rw\n",
			"mnt/c g/my group/memory.max": "100000000"}, 100_000_000, "/mnt/c g/my group/memory.max", 0},
		"a colon in the name": {map[string]string{"proc/self/cgroup": "0::/a:b:c\n", "proc/self/mountinfo": v2Here,
			"sys/fs/cgroup/a:b:c/memory.max": "100000000"}, 100_000_000, "a:b:c", 0},
		"nonsense": {map[string]string{"proc/meminfo": "MemTotal: lots kB\n\n:\n", "proc/self/cgroup": "0\n::\n\x00:memory\n", "proc/self/mountinfo": "x - \n - cgroup2\n1 2 3 / relative - cgroup2 a b\n1 2 3 / / - cgroup2 a b\n"},
			Unlimited, "unknown", 1},
	} {
		t.Run(name, func(t *testing.T) {
			got := Read(tree(c.files))
			if got.Bytes != c.want || !strings.Contains(got.Of, c.of) || len(got.Unread) != c.unread {
				t.Errorf("got %d of %q, not read %q; want %d of %q, %d not read", got.Bytes, got.Of, got.Unread, c.want, c.of, c.unread)
			}
		})
	}
}

// This machine has some memory, whatever its groups are; where there is no /proc,
// nobody knows how much.
func TestReadHere(t *testing.T) {
	got := Read(os.DirFS("/"))
	if _, err := os.Stat("/proc/meminfo"); err != nil {
		if got.Bytes != Unlimited {
			t.Errorf("without /proc there is %+v", got)
		}
		return
	}
	if got.Bytes < 64<<20 || got.Bytes > 1<<50 {
		t.Errorf("this machine has %+v", got)
	}
}

func TestPlan(t *testing.T) {
	const mib = 1 << 20
	have := func(n int64) Available { return Available{Bytes: n, Of: "memory.max of it"} }
	for name, c := range map[string]struct {
		size int64
		have Available
		env  int64
		want int64  // 0: refused
		says string // words, each with a comma between them
	}{
		"auto":                            {0, have(1024 * mib), Unlimited, 768 * mib, "75 %,1024 MiB,memory.max of it,768 MiB"},
		"a size":                          {200 * mib, have(1024 * mib), Unlimited, 200 * mib, "limits.memory,200 MiB,1024 MiB"},
		"all there is":                    {1024 * mib, have(1024 * mib), Unlimited, 1024 * mib, "1024 MiB"},
		"more than there is":              {1025 * mib, have(1024 * mib), Unlimited, 0, "limits.memory is 1025 MiB,1024 MiB,memory.max of it,auto,768 MiB"},
		"too little":                      {0, have(120 * mib), Unlimited, 0, "too little memory,75 %,120 MiB,90 MiB,96 MiB,128 MiB"},
		"just enough":                     {0, have(128 * mib), Unlimited, 96 * mib, "96 MiB"},
		"GOMEMLIMIT is smaller":           {0, have(1024 * mib), 300 * mib, 300 * mib, "GOMEMLIMIT,300 MiB,768 MiB"},
		"GOMEMLIMIT is larger":            {0, have(1024 * mib), 900 * mib, 768 * mib, "75 %"},
		"GOMEMLIMIT is too small":         {0, have(1024 * mib), 10 * mib, 0, "too little,GOMEMLIMIT,10 MiB,96 MiB"},
		"nobody knows":                    {0, have(Unlimited), Unlimited, Unlimited, "no limit,limits.memory"},
		"nobody knows, but the operator":  {500 * mib, have(Unlimited), Unlimited, 500 * mib, "500 MiB,no limit"},
		"nobody knows, but GOMEMLIMIT":    {0, have(Unlimited), 500 * mib, 500 * mib, "GOMEMLIMIT"},
		"a large machine":                 {0, have(64 << 30), Unlimited, 48 << 30, "64.0 GiB,48.0 GiB"},
		"a cgroup that allows no memory":  {0, have(0), Unlimited, 0, "too little"},
		"a size below what is worthwhile": {64 * mib, have(1024 * mib), Unlimited, 0, "too little,64 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Plan(c.size, c.have, c.env)
			text := got.Sum
			if err != nil {
				text = err.Error()
			}
			if got.Bytes != c.want || (err != nil) != (c.want == 0) {
				t.Errorf("got %d, %v", got.Bytes, err)
			}
			for word := range strings.SplitSeq(c.says, ",") {
				if !strings.Contains(text, word) {
					t.Errorf("it does not say %q: %s", word, text)
				}
			}
		})
	}
}

// FuzzRead: whatever the files hold, there is an answer, and it is not more than
// the machine has.
func FuzzRead(f *testing.F) {
	f.Add(hybrid, "4:memory:/g\n0::/g\n", "1000\n")
	f.Add(v2Here, "0::/../..\n", "max")
	f.Add("30 22 0:26 /\\0 /sys/\\134fs\\777 rw - cgroup2 cgroup2 rw\n", "0::\\\n", "-1")
	f.Fuzz(func(t *testing.T, mounts, groups, limit string) {
		got := Read(tree(map[string]string{"proc/meminfo": ram, "proc/self/mountinfo": mounts, "proc/self/cgroup": groups,
			"sys/fs/cgroup/memory.max": limit, "sys/fs/cgroup/g/memory.high": limit, "sys/fs/cgroup/memory/g/memory.limit_in_bytes": limit}))
		if got.Bytes < 0 || got.Bytes > 4<<30 || got.Of == "" || fmt.Sprint(got) == "" {
			t.Errorf("%+v", got)
		}
	})
}
