package fix

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The files of the host that are ours to write.
const (
	sysctlFile   = "/etc/sysctl.d/60-redoubt.conf"
	modprobeFile = "/etc/modprobe.d/60-redoubt.conf"
	dropInDir    = "/etc/systemd/system/redoubt.service.d/"
	limitsFile   = dropInDir + "10-limits.conf"
	sandboxFile  = dropInDir + "20-sandbox.conf"
	firewallFile = dropInDir + "30-firewall.conf"
	tableFile    = "/etc/nftables.d/60-redoubt.nft"
)

// tempMark is in the name of what is not in its place yet.
const tempMark = ".redoubt-fix"

// ourFile tells whether path is one of them.
func ourFile(path string) bool {
	return slices.Contains([]string{sysctlFile, modprobeFile, limitsFile, sandboxFile, firewallFile, tableFile}, path)
}

// The first line of such a file tells what is below it, so that a change by hand is seen.
const (
	mark     = "# Written by `redoubt fix`, sha256:"
	markTail = " of what is below. Change it as you like: redoubt fix asks before it touches a changed file."
)

var markLine = regexp.MustCompile("^" + regexp.QuoteMeta(mark) + "([0-9a-f]{64})" + regexp.QuoteMeta(markTail) + "\n")

// marked puts the first line over a body.
func marked(body string) string {
	return mark + digest(body) + markTail + "\n" + body
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// body is what is below the first line. foreign says why it is not only ours.
func body(s State) (text, foreign string) {
	if s.Absent {
		return "", ""
	}
	text = string(s.Content)
	m := markLine.FindStringSubmatch(text)
	if m == nil {
		return text, "somebody else has made it"
	}
	text = text[len(m[0]):]
	if digest(text) != m[1] {
		return text, "somebody has changed it since redoubt fix wrote it"
	}
	return text, ""
}

// value is one line of a file of values: what it sets, to what, and why.
type value struct{ name, text, why string }

// merge puts values into a body. What is there stays, in its order; a line that sets less
// than is wanted goes, with our own words above it. form writes a line.
func merge(text string, add []value, sep string) (out string, changed bool) {
	keep := lines(text)
	for _, v := range add {
		if sets(keep, v, sep) {
			continue
		}
		changed = true
		keep = without(keep, v.name, sep)
		if len(keep) > 0 && strings.TrimSpace(keep[len(keep)-1]) != "" {
			if !strings.HasSuffix(keep[len(keep)-1], "\n") {
				keep[len(keep)-1] += "\n"
			}
			keep = append(keep, "\n")
		}
		keep = append(keep, ownWords+v.why+"\n", v.name+sep+v.text+"\n")
	}
	return strings.Join(keep, ""), changed
}

// ownWords begin a line that is about the next one.
const ownWords = "# redoubt: "

// split reads a line that sets something.
func split(line, sep string) (name, text string, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || strings.ContainsAny(line[:1], "#;[") {
		return "", "", false
	}
	name, text, ok = strings.Cut(strings.TrimPrefix(line, "-"), strings.TrimSpace(sep)) // sysctl.d: - is "ignore a failure"
	return strings.TrimSpace(name), strings.TrimSpace(text), ok
}

// sets tells whether the last line about a value is enough.
func sets(all []string, v value, sep string) bool {
	enough := false
	for _, line := range all {
		if name, text, ok := split(line, sep); ok && name == v.name {
			enough = reaches(v.name, text, v.text)
		}
	}
	return enough
}

func without(all []string, name, sep string) (out []string) {
	for _, line := range all {
		if n, _, ok := split(line, sep); ok && n == name {
			if k := len(out) - 1; k >= 0 && strings.HasPrefix(out[k], ownWords) {
				out = out[:k]
			}
			continue
		}
		out = append(out, line)
	}
	for len(out) > 0 && strings.TrimSpace(out[len(out)-1]) == "" {
		out = out[:len(out)-1]
	}
	return out
}

// reaches tells whether have is at least want. LimitCORE is the one that has to be little.
func reaches(name, have, want string) bool {
	if have == want {
		return true
	}
	soft, _, _ := strings.Cut(have, ":")
	if name == "LimitCORE" {
		return soft == want && strings.HasSuffix(have, ":"+want)
	}
	if soft == "infinity" {
		return true
	}
	h, err1 := strconv.ParseInt(soft, 10, 64)
	w, err2 := strconv.ParseInt(want, 10, 64)
	return err1 == nil && err2 == nil && h >= w
}
