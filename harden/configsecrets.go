package harden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/redoubtmq/redoubt/internal/safefile"
)

// configBytesMax bounds what is read of one file, and configCopiesMax how many copies are read.
const (
	configBytesMax  = 4 << 20
	configCopiesMax = 20
)

// copyEndings are what editors, package managers and people put behind the name of a file.
var copyEndings = []string{"~", ".bak", ".old", ".orig", ".save", ".backup", ".copy", ".1", ".dpkg-old", ".dpkg-dist", ".rpmsave", ".rpmnew", ".swp"}

// configSecrets is row P5.13.
func configSecrets(ctx context.Context, e *Env) []Result {
	b, err := e.broker(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	out := []Result{e.heldSecrets(b)}
	if e.File == "" {
		q := e.inquire("file")
		q.see(ReadFile, "configuration file", "", "none: built-in defaults", NotApplicable)
		return append(out, q.result(Effective, "there is no configuration file"))
	}
	return append(out, e.writtenSecrets())
}

// heldSecrets goes through what the process holds.
func (e *Env) heldSecrets(b *BrokerReport) Result {
	q := e.inquire("settings")
	const what, want = "settings in force", "references to secrets, and none"
	if len(b.Settings) == 0 {
		q.see(API, what, want, "the broker does not say which it has; it is older than this doctor", Unknown)
		return q.result(Effective, "")
	}
	for _, key := range slices.Sorted(maps.Keys(b.Settings)) {
		text := b.Settings[key]
		is := holdsSecret(strings.ReplaceAll(key[strings.LastIndexByte(key, '.')+1:], "-", "_"), plainText(text))
		if strings.HasSuffix(key, ".headers") && headerSecret(text) != "" {
			is = headerSecret(text)
		} else if is != "" && isLiteral(text) && !hasSecretForm(text) { // last, because it is the dearest
			is = ""
		}
		if is != "" {
			q.see(API, key, want, "holds "+is, Fail)
			q.source(key)
			q.fixes = append(q.fixes, "put the secret of "+key+" into a file and write file:PATH")
		}
	}
	if len(q.obs) == 0 {
		q.see(API, what, want, fmt.Sprintf("%d, none looks like a secret", len(b.Settings)), Pass)
	}
	return q.result(Effective, "no value in force looks like a secret")
}

// isLiteral tells what cannot be one: true, false, nothing, a list or a section. A number can.
func isLiteral(text string) bool {
	var v any
	if yaml.Unmarshal([]byte(text), &v) != nil {
		return false
	}
	switch v.(type) {
	case nil, bool, []any, map[string]any:
		return true
	}
	return false
}

func hasSecretForm(text string) bool { return holdsSecret("", text) != "" }

// credentialHeaders are those of HTTP that carry one.
var credentialHeaders = []string{"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "api-key", "apikey"}

// headerSecret looks at the headers of a back end, which may have values in the file.
func headerSecret(text string) string {
	var all []struct{ Name, Value string }
	if yaml.Unmarshal([]byte(text), &all) != nil {
		return ""
	}
	for _, h := range all {
		name := strings.ToLower(h.Name)
		if h.Value != "" && (slices.Contains(credentialHeaders, name) || holdsSecret(strings.ReplaceAll(name, "-", "_"), h.Value) != "") {
			return "a header that is a credential, with its value"
		}
	}
	return ""
}

// writtenSecrets goes through the file, and copies of it beside it.
func (e *Env) writtenSecrets() Result {
	q := e.inquire("file")
	q.scan(e.File, true)
	copies := 0
	for _, path := range e.copies() {
		if copies++; copies > configCopiesMax {
			q.see(ReadFile, "copies of the configuration", fmt.Sprintf("%d at most", configCopiesMax), "more: not all of them were looked at", Unknown)
			break
		}
		q.scan(path, false)
	}
	return q.result(Effective, "no line looks like a secret")
}

// copies are files beside the configuration that are one of it by their name.
func (e *Env) copies() (out []string) {
	dir, base := filepath.Split(e.File)
	e.touch(dir)
	entries, err := os.ReadDir(filepath.Clean("./" + dir))
	if filepath.IsAbs(e.File) {
		entries, err = os.ReadDir(filepath.Clean(dir))
	}
	if err != nil {
		return nil // the file itself is read by its path; who may not list the folder finds no copy either
	}
	for _, d := range entries {
		name := strings.TrimPrefix(d.Name(), ".")
		if d.Type().IsRegular() && name != base && strings.HasPrefix(name, base) &&
			slices.ContainsFunc(copyEndings, func(end string) bool { return strings.HasPrefix(name[len(base):], end) }) {
			out = append(out, filepath.Join(dir, d.Name()))
		}
	}
	return out
}

// scan goes through one file, line by line.
func (q *inquiry) scan(path string, must bool) {
	what := "configuration file"
	if !must {
		what = "a copy of the configuration"
	}
	const want = "references to secrets, and none"
	q.e.touch(path)
	text, err := safefile.Read(path, configBytesMax)
	if !must && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return // gone, or closed to us and to whom it would help
	}
	if err != nil {
		q.trouble(what, want, path, err)
		return
	}
	n, found := 0, 0
	for line := range strings.Lines(string(text)) {
		n++
		if is := lineSecret(line); is != "" {
			found++
			if found <= configCopiesMax {
				q.see(ReadFile, fmt.Sprintf("%s, line %d", what, n), want, "holds "+is, Fail)
				q.source(fmt.Sprintf("%s:%d", path, n))
			}
		}
	}
	if found == 0 {
		q.see(ReadFile, what, want, fmt.Sprintf("%d lines, none looks like one", n), Pass)
		q.source(path)
	}
}

// lineSecret says what kind of secret a line of YAML holds; empty: none. Comments are lines as
// others: who reads the file reads them.
func lineSecret(line string) string {
	if is := holdsSecret("", line); is != "" {
		return is
	}
	line = strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "#- "))
	for part := range strings.SplitSeq(strings.Trim(line, "{} "), ",") { // of a section on one line, too
		name, value, ok := strings.Cut(strings.Trim(part, "{}[] "), ":")
		if inner := strings.LastIndexByte(name, '{'); inner >= 0 {
			name = name[inner+1:]
		}
		// password: {...} opens a section; of "a: {password: x" the last pair counts.
		for ok && strings.HasPrefix(strings.TrimSpace(value), "{") {
			name, value, ok = strings.Cut(strings.TrimLeft(strings.TrimSpace(value), "{ "), ":")
		}
		name = strings.Trim(strings.TrimSpace(name), `"'`)
		value, _, _ = strings.Cut(strings.TrimSpace(value), " #")
		value = strings.Trim(strings.Trim(value, "{}[] "), `"'`)
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			continue
		}
		if is := holdsSecret(strings.ReplaceAll(name, "-", "_"), value); is != "" && !isLiteral(value) { // which is the dearest
			return is
		}
	}
	return ""
}
