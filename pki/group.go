package pki

import (
	"os"
	"strconv"
	"strings"
)

// Many distributions give every user a group of the same name and a umask of
// 002, so that every directory the user makes is group-writable. Refusing those
// would refuse every fresh clone; accepting group write in general would accept
// real groups.

// isPrivateGroup tells whether uid is the only user in group gid, by
// /etc/passwd and /etc/group. Users and groups of a directory service are not in
// there and count as "no": the answer then is the safe one.
func isPrivateGroup(uid, gid uint32) bool {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return false
	}
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		return false
	}
	return onlyMember(string(passwd), string(group), uid, gid)
}

// onlyMember is isPrivateGroup over the text of the two files.
func onlyMember(passwd, group string, uid, gid uint32) bool {
	uidText, gidText := strconv.FormatUint(uint64(uid), 10), strconv.FormatUint(uint64(gid), 10)
	owner := ""
	for line := range strings.Lines(passwd) { // name:x:uid:gid:...
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 {
			continue
		}
		switch {
		case f[2] == uidText && owner == "":
			if f[3] != gidText {
				return false // not the primary group of the owner
			}
			owner = f[0]
		case f[3] == gidText:
			return false // somebody else's primary group
		}
	}
	if owner == "" {
		return false
	}
	found := false
	for line := range strings.Lines(group) { // name:x:gid:member,member
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || f[2] != gidText {
			continue
		}
		found = true
		for member := range strings.SplitSeq(f[3], ",") {
			if member != "" && member != owner {
				return false
			}
		}
	}
	return found
}
