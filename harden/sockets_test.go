package harden

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// hexWord writes four bytes as the kernel prints them on this machine.
func hexWord(t *testing.T, s string) string {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return s[6:8] + s[4:6] + s[2:4] + s[0:2]
	}
	return s
}

func TestParseInet(t *testing.T) {
	local4, all6 := hexWord(t, "7F000001"), strings.Repeat("0", 32)
	one6 := strings.Repeat("0", 24) + hexWord(t, "00000001")
	mapped := strings.Repeat("0", 16) + hexWord(t, "0000FFFF") + hexWord(t, "7F000001")
	text := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: " + local4 + ":22B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 x\n" +
		"   1: " + local4 + ":22B4 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 12 1 x\n" +
		"   2: " + all6 + ":22B5 " + all6 + ":0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 x\n" +
		"   3: " + one6 + ":22B6 " + all6 + ":0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 x\n" +
		"   4: " + mapped + ":22B7 " + all6 + ":0000 0A 00000000:00000000 00:00000000 00000000     0        0 15 1 x\n"
	got, err := parseInet(strings.NewReader(text), "tcp", "0A")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for i := range got {
		said = append(said, got[i].String())
	}
	if want := []string{"tcp:127.0.0.1:8883", "tcp:[::]:8885", "tcp:[::1]:8886", "tcp:127.0.0.1:8887"}; !slices.Equal(said, want) || got[0].inode != 11 {
		t.Errorf("%v, inode %d", said, got[0].inode)
	}
	udp := "sl head\n 0: " + local4 + ":0035 00000000:0000 07 0:0 0:0 0 0 0 21\n 1: " + local4 + ":0036 " + local4 + ":0035 07 0:0 0:0 0 0 0 22\n"
	if got, err := parseInet(strings.NewReader(udp), "udp", "07"); err != nil || len(got) != 1 || got[0].addr.Port() != 53 {
		t.Errorf("%v, %v: a client's socket is not an entrance", got, err)
	}
	for _, bad := range []string{"", "head\n", "sl head\n0: x\n", "sl head\n0: 7F:1 0:0 0A 0:0 0:0 0 0 0 1\n", "sl head\n0: " + local4 + ":1 0:0 0A 0:0 0:0 0 0 0 x\n", "sl head\n0: " + local4 + " 0:0 0A 0:0 0:0 0 0 0 1\n"} {
		if got, err := parseInet(strings.NewReader(bad), "tcp", "0A"); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

// Clients make as many connections as they may, and the kernel has a line for each: what
// listens is found among them, however many there are.
func TestListenersAmongMillions(t *testing.T) {
	local := hexWord(t, "7F000001")
	const line = "   1: %s:%s 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 0000000000000000 20 4 30 10 -1                   \n"
	head, last := "  sl  local_address\n", fmt.Sprintf(line, local, "22B3", "0A", 11)
	client := fmt.Sprintf(line, local, "22B3", "01", 12)
	many := strings.Repeat(client, 2*procBytesMax/len(client))
	dir := filepath.Join(t.TempDir(), "7", "net")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tcp"), []byte(head+many+last), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &Env{Proc: filepath.Dir(filepath.Dir(dir))}
	got, err := e.inet(7, "tcp", "tcp", "0A")
	if err != nil || len(got) != 1 || got[0].inode != 11 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseInet(strings.NewReader(head+strings.Repeat(last, inetSocketsMax+1)), "tcp", "0A"); err == nil {
		t.Error("any number of listening sockets is kept")
	}
}

func TestParseUnix(t *testing.T) {
	text := "Num       RefCount Protocol Flags    Type St Inode Path\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 31 /run/a b.sock\n" +
		"0000000000000000: 00000003 00000000 00000000 0001 03 32 /run/connected\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 33\n"
	got := parseUnix([]byte(text))
	if len(got) != 2 || got[0].path != "/run/a b.sock" || got[0].inode != 31 || got[1].path != "" {
		t.Errorf("%+v", got)
	}
}

func TestTargetsAndRecognition(t *testing.T) {
	for text, want := range map[string]string{
		"[::]:1": "[::1]:1 127.0.0.1:1", "0.0.0.0:1": "127.0.0.1:1", "192.0.2.1:1": "192.0.2.1:1", "[2001:db8::1]:1": "[2001:db8::1]:1",
	} {
		s := socket{addr: netip.MustParseAddrPort(text)}
		var got []string
		for _, a := range s.targets() {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is reached at %v", text, got)
		}
	}
	for _, c := range []struct {
		said, listed string
		same         bool
	}{{"[::]:8883", "[::]:8883", true}, {"0.0.0.0:8883", "[::]:8883", false}, {"[::ffff:127.0.0.1]:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "127.0.0.1:2", false}} {
		if got := sameAddr(netip.MustParseAddrPort(c.said), netip.MustParseAddrPort(c.listed)); got != c.same {
			t.Errorf("%s and %s: %v", c.said, c.listed, got)
		}
	}
}

// Without its evidence a probe knows nothing, and says so: never pass.
func TestWithoutEvidenceEveryProbeIsUnknown(t *testing.T) {
	for name, spoil := range map[string]func(e *Env, own string){
		"the broker":                 func(e *Env, _ string) { e.Broker = nil },
		"the broker keeps silent":    func(e *Env, _ string) { e.Broker = account{err: errors.New("no")} },
		"no descriptors":             func(_ *Env, own string) { _ = os.RemoveAll(filepath.Join(own, "fd")) },
		"no sockets":                 func(_ *Env, own string) { _ = os.RemoveAll(filepath.Join(own, "net")) },
		"no namespace":               func(_ *Env, own string) { _ = os.RemoveAll(filepath.Join(own, "ns")) },
		"another network":            func(_ *Env, own string) { relink(own, "ns", filepath.Dir(own)) },
		"a process we cannot see":    func(e *Env, _ string) { e.Broker = account{} },
		"none of the descriptors":    func(_ *Env, own string) { clearDir(filepath.Join(own, "fd")) },
		"a table nobody understands": func(_ *Env, own string) { relink(own, "net", filepath.Join(filepath.Dir(own), "odd")) },
	} {
		for _, id := range probeRows {
			e := goodProbed(t, id)
			own := filepath.Join(e.Proc, strconv.Itoa(os.Getpid()))
			for _, d := range []string{"odd", "net"} {
				if err := os.MkdirAll(filepath.Join(e.Proc, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.WriteFile(filepath.Join(e.Proc, "odd", "tcp"), []byte("sl head\nx y\n"), 0o600), os.Symlink("net:[1]", filepath.Join(e.Proc, "net", "net"))); err != nil {
				t.Fatal(err)
			}
			spoil(e, own)
			row := examine(t, e, id).Rows[0]
			if row.State() != Unknown || row.Results[0].Summary == "" {
				t.Errorf("%s: %s is %s: %+v", name, id, row.State(), row.Results)
			}
			removed(id, name)
		}
	}
}

func relink(own, name, to string) {
	_ = os.RemoveAll(filepath.Join(own, name))
	if name == "ns" {
		to = filepath.Join(to, "net") // a folder with one link of another network
	}
	_ = os.Symlink(to, filepath.Join(own, name))
}

func clearDir(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, d := range entries {
		_ = os.Remove(filepath.Join(dir, d.Name()))
	}
}

// A broker without a listener for clients cannot be judged as an entrance.
func TestNoListenerIsUnknown(t *testing.T) {
	f := newFake(t, flaws{})
	f.listen("", "mqtts", "127.0.0.1:0")
	for _, id := range []string{"P4.2", "P4.3"} {
		if row := examine(t, f.alone(f.env()), id).Rows[0]; row.State() != Unknown {
			t.Errorf("%s: %s", id, row.State())
		}
	}
}
