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
	"syscall"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/harden/signed"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/pki"
)

// privateFiles is row P2.2 on a running broker.
func privateFiles(ctx context.Context, e *Env) []Result {
	uid := userWithout(os.Geteuid(), e.Config.Node.DataDir)
	b, err := e.broker(ctx)
	if err == nil {
		uid = b.UID
	}
	out := []Result{e.judgeFiles(uid, true)}
	if err != nil {
		return append(out, Result{Scope: "process", State: Unknown, Summary: "environment, command line and core dumps of the broker: " + err.Error()})
	}
	return append(out, e.judgeEnviron(b.PID), e.judgeCommandLine(b.PID), e.judgeCore(b.PID))
}

// userWithout is whom the files are judged for where no broker says who it is: the user who
// asks. Root asks for the broker, which is not root: its user is the one who has its data
// directory, and to give root what is there would keep the broker from it.
func userWithout(asks int, dir string) int {
	if fi, err := os.Stat(dir); asks == 0 && err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			return int(st.Uid)
		}
	}
	return asks
}

// privateFilesAtStart is the part that refuses a start.
func privateFilesAtStart(e *Env) []Result { return []Result{e.judgeFiles(os.Geteuid(), false)} }

// guarded is a file with how closed it has to be.
type guarded struct {
	path string
	need pki.Access
	what string
	must bool // it is an error if it is not there
}

// filesOf lists what the configuration makes sensitive: keys and users files, which
// nobody else may read, and rules and certificates, which nobody else may change.
func filesOf(c *config.Config) []guarded {
	certs := filepath.Dir(pki.CAFile(c.Node.DataDir))
	out := []guarded{
		{filepath.Join(c.Node.DataDir, builtin.FileName), pki.OwnerOnly, "users of an earlier version and their password hashes", false},
		{filepath.Join(c.Node.DataDir, builtin.MigratedName), pki.OwnerOnly, "users of an earlier version and their password hashes", false},
		{filepath.Join(c.Node.DataDir, signed.KeyName), pki.OwnerOnly, "key by which the node signs its reports", false},
		{c.Authz.RulesFile, pki.OwnerWrites, "authorization rules", true},
	}
	if c.Bans.File != "" {
		out = append(out, guarded{c.Bans.File, pki.OwnerWrites, "bans", true})
	}
	keys, _ := filepath.Glob(filepath.Join(escaped(certs), "*.key")) // the pattern is well formed
	for _, k := range keys {
		out = append(out, guarded{k, pki.OwnerOnly, "private key of the built-in CA or its certificate", true})
	}
	pems, _ := filepath.Glob(filepath.Join(escaped(certs), "*.pem"))
	for _, p := range pems {
		out = append(out, guarded{p, pki.OwnerWrites, "built-in certificate", true})
	}
	devices := escaped(filepath.Dir(pki.DevicesCA(c.Node.DataDir)))
	for _, rule := range []struct {
		pattern string
		need    pki.Access
		what    string
	}{{"*.key", pki.OwnerOnly, "private key of the CA of devices or its canary"}, {"*.json", pki.OwnerOnly, "records of the CA of devices"}, {"*.pem", pki.OwnerWrites, "certificate or list of the CA of devices"}} {
		found, _ := filepath.Glob(filepath.Join(devices, rule.pattern))
		for _, f := range found {
			out = append(out, guarded{f, rule.need, rule.what, true})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Authn.Kerberos)) {
		out = append(out, guarded{c.Authn.Kerberos[name].Keytab, pki.OwnerOnly, "keys of authn.kerberos." + name, true})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Listeners)) {
		for _, file := range c.Listeners[name].TLS.ClientCA {
			out = append(out, guarded{file, pki.OwnerWrites, "client CA of listeners." + name, true})
		}
		for _, file := range c.Listeners[name].TLS.CRL.Files { // without it the listener does not open; that of the CA of devices is made anew before
			out = append(out, guarded{file, pki.OwnerWrites, "revocation list of listeners." + name, false})
		}
		for _, pair := range c.Listeners[name].TLS.Certificates {
			out = append(out, guarded{pair.Cert, pki.OwnerWrites, "certificate of listeners." + name, true})
			if path, isFile := strings.CutPrefix(pair.Key.Ref, "file:"); isFile {
				out = append(out, guarded{path, pki.OwnerOnly, "private key of listeners." + name, true})
			}
		}
	}
	return out
}

// escaped makes a path one that Glob takes literally.
func escaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// judgeFiles looks at every sensitive file through an opened descriptor, and at
// every folder on the way, as uid would. running adds what is there only then,
// and what is a finding but no reason to refuse a start.
func (e *Env) judgeFiles(uid int, running bool) Result {
	q := e.inquire("files")
	dir := e.Config.Node.DataDir
	q.folder(uid, "data directory", dir)
	for _, name := range []string{"store", "store/log", "store/view"} { // messages, and users with their password hashes
		if path := filepath.Join(dir, name); there(path) {
			q.folder(uid, "folder of the store", path)
		}
	}
	e.touch(filepath.Dir(pki.CAFile(dir)))
	for _, g := range filesOf(e.Config) {
		q.file(uid, g)
	}
	if running {
		q.socket(uid, e.Config.Admin.Socket, e.seen.report != nil)
		if e.File != "" {
			q.file(uid, guarded{e.File, pki.OwnerWrites, "configuration", true})
		}
		q.strays(dir)
	} else {
		q.socketFolder(uid, e.Config.Admin.Socket)
	}
	return q.result(Kernel, fmt.Sprintf("%d files and folders, and every folder above them, are closed to others", len(q.obs)))
}

// there tells whether path exists; what cannot be told is left to a closer look.
func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// folder judges a folder that nobody else may even list.
func (q *inquiry) folder(uid int, what, dir string) {
	const want = "mode 0700, owned by the broker's user, in folders only it and root can change"
	q.e.touch(dir)
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		q.trouble(what, want, dir, err)
		return
	}
	defer d.Close()
	fi, err := d.Stat()
	if err != nil {
		q.trouble(what, want, dir, err)
		return
	}
	st, _ := fi.Sys().(*syscall.Stat_t)
	perm := fi.Mode().Perm()
	switch {
	case st == nil || int(st.Uid) != uid:
		q.finding(what, want, dir, fmt.Sprintf("%s does not belong to user %d: chown %d %s", dir, uid, uid, datadir.Quote(dir)),
			Want{Kind: WantMode, Name: dir, Clear: 0o077, Owner: uid})
	case perm&0o077 != 0:
		q.finding(what, want, dir, fmt.Sprintf("%s has mode %04o, so that others can look into it: chmod 0700 %s", dir, perm, datadir.Quote(dir)),
			Want{Kind: WantMode, Name: dir, Clear: 0o077, Owner: -1})
	default:
		q.verdict(what, want, dir, fmt.Sprintf("mode %04o", perm), pki.CheckDirectoryAs(uid, dir))
	}
}

// file judges one file.
func (q *inquiry) file(uid int, g guarded) {
	want := "others can neither read nor change it"
	if g.need == pki.OwnerWrites {
		want = "others cannot change it"
	}
	q.e.touch(g.path)
	f, err := os.OpenFile(g.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) && !g.must {
		return
	}
	if err != nil {
		q.trouble(g.what, want, g.path, err)
		return
	}
	defer f.Close()
	seen := "closed"
	if fi, err := f.Stat(); err == nil {
		seen = fmt.Sprintf("mode %04o", fi.Mode().Perm())
	}
	q.verdict(g.what, want, g.path, seen, pki.CheckPermissionsAs(uid, f, g.need))
}

// socket judges the administration socket. A socket cannot be opened to be
// looked at, so its folder has to be one in which nobody can exchange it.
func (q *inquiry) socket(uid int, path string, running bool) {
	const what, want = "administration socket", "mode 0600, owned by the broker's user"
	q.e.touch(path)
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) && !running {
		return
	}
	if err != nil {
		q.trouble(what, want, path, err)
		return
	}
	st, _ := fi.Sys().(*syscall.Stat_t)
	switch perm := fi.Mode().Perm(); {
	case fi.Mode().Type() != fs.ModeSocket:
		q.finding(what, want, path, path+" is not a socket")
	case st == nil || int(st.Uid) != uid:
		q.finding(what, want, path, fmt.Sprintf("%s does not belong to user %d", path, uid))
	case perm&0o077 != 0:
		q.finding(what, want, path, fmt.Sprintf("%s has mode %04o, so that others can administer the broker: chmod 0600 %s", path, perm, datadir.Quote(path)),
			Want{Kind: WantMode, Name: path, Clear: 0o077, Owner: -1})
	default:
		q.verdict(what, want, path, fmt.Sprintf("mode %04o", perm), nil)
	}
	q.socketFolder(uid, path)
}

func (q *inquiry) socketFolder(uid int, path string) {
	dir := filepath.Dir(path)
	q.verdict("folder of the administration socket", "only the broker's user and root can change it", dir, "closed", pki.CheckDirectoryAs(uid, dir))
}

// straysMax bounds the walk through the data directory.
const straysMax = 10_000

// strays warns of other files in the data directory that are open to others: a
// copy of a key that an editor or a backup left, for instance. The folder above
// keeps others out, which is why it is no failure.
func (q *inquiry) strays(dir string) {
	n := 0
	judged := map[string]bool{}
	for _, g := range filesOf(q.e.Config) {
		judged[g.path] = true
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // what cannot be read was told above
		q.e.touch(path)
		if n++; n > straysMax {
			return fs.SkipAll
		}
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		fi, err := d.Info()
		if err != nil || fi.Mode().Perm()&0o077 == 0 || filepath.Ext(path) == ".pem" || path == q.e.Config.Authz.RulesFile {
			return nil
		}
		if judged[path] {
			return nil
		}
		q.see(ReadFile, "another file in the data directory", "closed to others", fmt.Sprintf("%s has mode %04o: chmod 0600 %s", path, fi.Mode().Perm(), datadir.Quote(path)), Warn)
		q.source(path)
		q.want(Want{Kind: WantMode, Name: path, Clear: 0o077, Owner: -1})
		return nil
	})
	if n > straysMax {
		q.see(ReadFile, "the data directory", fmt.Sprintf("at most %d files", straysMax), "more: not all of them were looked at", Unknown)
	}
}

// verdict adds what a judgement of package pki says; nil is seen.
func (q *inquiry) verdict(what, want, path, seen string, err error) {
	switch {
	case err == nil:
		q.see(ReadFile, what, want, seen, Pass)
		q.source(path)
	case unreadable(err):
		q.trouble(what, want, path, err)
	default:
		q.finding(what, want, path, err.Error(), q.modeWanted(path, err)...)
	}
}

// finding adds a failure. What follows its last ": " is the command that helps, and wants are
// what a program does instead.
func (q *inquiry) finding(what, want, path, actual string, wants ...Want) {
	q.see(ReadFile, what, want, actual, Fail)
	q.source(path)
	words := ""
	if i := strings.LastIndex(actual, ": ch"); i >= 0 {
		words = actual[i+2:]
	}
	q.mend(words, wants...)
}

// trouble adds that something could not be looked at.
func (q *inquiry) trouble(what, want, path string, err error) {
	q.see(ReadFile, what, want, "cannot be looked at: "+err.Error(), Unknown)
	q.source(path)
}

// unreadable tells an error of the system from a verdict.
func unreadable(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}
