package harden

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// procBytesMax bounds what is read of one file of the process file system.
const procBytesMax = 16 << 20

// readProc reads a file about the process pid.
func (e *Env) readProc(pid int, name string) ([]byte, error) {
	f, err := e.openProc(pid, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, procBytesMax+1))
	if err == nil && len(b) > procBytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", f.Name(), procBytesMax)
	}
	return b, err
}

func (e *Env) openProc(pid int, name string) (*os.File, error) {
	if pid <= 0 {
		return nil, errors.New("the process id of the broker is not known here; it may run in another container")
	}
	return os.Open(filepath.Join(e.proc(), strconv.Itoa(pid), name))
}

// A secret in the environment or on the command line is readable by everything
// the user runs, and gets into crash reports, process lists and child processes.
var (
	// secretName is how variables and flags that hold one are called.
	secretName = regexp.MustCompile(`(?i)(PASSWORD|PASSWD|PASSPHRASE|PASSWRD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY)$`)
	// reference is a value that says where the secret is, which is how it should be.
	reference = regexp.MustCompile(`^(file:|credential:|/|\./|\.\./)`)
	// secretForms are values that are secrets whatever they are called.
	secretForms = []struct {
		form *regexp.Regexp
		is   string
	}{
		{regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`), "a private key"},
		{regexp.MustCompile(`\brdt_[0-9A-Za-z]{33}\b`), "a generated secret of this broker"},
		{regexp.MustCompile(`://[^/@\s:]+:[^/@\s]+@`), "an address with a password in it"},
	}
)

// holdsSecret says what kind of secret a value is, empty if none. It is told the
// name of the value, and never shows the value.
func holdsSecret(name, value string) string {
	for _, f := range secretForms {
		if f.form.MatchString(value) {
			return f.is
		}
	}
	if value != "" && secretName.MatchString(name) && !reference.MatchString(value) {
		return "a value whose name says that it is a secret"
	}
	return ""
}

// judgeEnviron looks for secrets in the environment of the process.
func (e *Env) judgeEnviron(pid int) Result {
	q := e.inquire("environment")
	b, err := e.readProc(pid, "environ")
	if err != nil {
		q.see(ReadKernel, "environment of the broker", "no secret in it", "cannot be read: "+err.Error(), Unknown)
		return q.result(Kernel, "")
	}
	n := 0
	for _, kv := range bytes.Split(b, []byte{0}) {
		name, value, ok := strings.Cut(string(kv), "=")
		if !ok {
			continue
		}
		n++
		if is := holdsSecret(name, value); is != "" {
			q.see(ReadKernel, "variable "+shortened(name), "no secret", "holds "+is, Fail)
			q.source(fmt.Sprintf("/proc/%d/environ", pid))
			q.fixes = append(q.fixes, "start the broker without "+shortened(name))
		}
	}
	if len(q.obs) == 0 {
		q.see(ReadKernel, "environment of the broker", "no secret in it", fmt.Sprintf("%d variables, none looks like one", n), Pass)
	}
	return q.result(Kernel, "no secret in the environment")
}

// judgeCommandLine looks for secrets among the arguments of the process, which
// every user of the machine can read.
func (e *Env) judgeCommandLine(pid int) Result {
	q := e.inquire("command line")
	b, err := e.readProc(pid, "cmdline")
	if err != nil {
		q.see(ReadKernel, "command line of the broker", "no secret in it", "cannot be read: "+err.Error(), Unknown)
		return q.result(Kernel, "")
	}
	args := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	for i, arg := range args {
		name, value, both := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !strings.HasPrefix(arg, "-") {
			name, value, both = "", arg, true
		}
		if !both && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			value = args[i+1]
		}
		if is := holdsSecret(strings.ReplaceAll(name, "-", "_"), value); is != "" {
			q.see(ReadKernel, fmt.Sprintf("argument %d of the command line", i), "no secret", "holds "+is, Fail)
			q.source(fmt.Sprintf("/proc/%d/cmdline", pid))
			q.fixes = append(q.fixes, "put the secret into a file and refer to it as file:PATH")
		}
	}
	if len(q.obs) == 0 {
		q.see(ReadKernel, "command line of the broker", "no secret in it", fmt.Sprintf("%d arguments, none looks like one", len(args)), Pass)
	}
	return q.result(Kernel, "no secret on the command line")
}

// judgeCore asks whether a crash would write the memory of the process, keys and
// passwords included, to disk.
func (e *Env) judgeCore(pid int) Result {
	q := e.inquire("core dumps")
	b, err := e.readProc(pid, "limits")
	soft := ""
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				soft = f[0]
			}
		}
	}
	const what, want = "limit of core dumps (RLIMIT_CORE)", "0"
	switch {
	case err != nil:
		q.see(ReadKernel, what, want, "cannot be read: "+err.Error(), Unknown)
	case soft == "":
		q.see(ReadKernel, what, want, "is not among the limits the kernel lists", Unknown)
	case soft != "0":
		q.see(ReadKernel, what, want, soft+" bytes: a crash writes keys and passwords to disk", Fail)
		q.mend("start the broker with ulimit -c 0, or LimitCORE=0 in its unit", Want{Kind: WantUnit, Name: "LimitCORE", Value: "0"})
	default:
		q.see(ReadKernel, what, want, "0", Pass)
	}
	if err == nil {
		q.source(fmt.Sprintf("/proc/%d/limits", pid))
	}
	return q.result(Kernel, "a crash writes no memory to disk")
}

// shortened keeps a name that somebody else chose short enough for a line, and
// printable.
func shortened(s string) string {
	const most = 120
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
