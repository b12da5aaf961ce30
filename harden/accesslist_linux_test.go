package harden

import (
	"encoding/binary"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A list of access rights opens a file whose owner alone may read it by chmod: what the kernel then
// shows as the rights of the group is what the list lets others do.
func TestAListOfRightsIsSeen(t *testing.T) {
	h := newHouse(t)
	entry := func(tag, perm uint16, id uint32) []byte {
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, tag), perm), id)
	}
	const nobody = ^uint32(0)
	list := slices.Concat([]byte{2, 0, 0, 0}, entry(1, 6, nobody), entry(2, 4, 4711), entry(4, 0, nobody), entry(16, 4, nobody), entry(32, 0, nobody))
	if err := syscall.Setxattr(h.path("data/certs/ca.key"), "system.posix_acl_access", list, 0); err != nil {
		t.Fatalf("%v; the tests take a temporary directory on a file system with POSIX ACLs", err)
	}
	r := examine(t, h.env, "P2.2").Rows[0]
	if r.State() != Fail || !strings.Contains(r.Results[0].Summary, "ca.key has mode 0640") {
		t.Errorf("%s: %s", r.State(), r.Results[0].Summary)
	}
	fixture("P2.2", "a list of rights opens a key", Fail)
	h.env.seen = seen{}
	if out, err := exec.Command("/bin/sh", "-c", r.Results[0].Fix).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if r := examine(t, h.env, "P2.2").Rows[0]; r.State() != Pass {
		t.Errorf("after %s: %s", r.Results[0].Fix, r.Results[0].Summary)
	}
}
