package backend_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The real servers of these tests: each is started by the first test that wants it, on
// loopback, in a folder of its own, as nobody where the tests run as root, and stopped
// at the end. They speak TLS with a certificate for db.test.
var real struct {
	mu   sync.Mutex // guards everything below
	dir  string
	ca   *authority
	stop []func()
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/go-sql-driver/mysql.(*mysqlConn).startWatcher.func1"), // see mysql.Driver.broken
		goleak.Cleanup(func(code int) {
			for _, stop := range real.stop {
				stop()
			}
			if real.dir != "" {
				_ = os.RemoveAll(real.dir)
			}
			os.Exit(code)
		}))
}

// folder is a new one, which the servers' user owns.
func folder(t *testing.T, name string) string {
	t.Helper()
	real.mu.Lock()
	defer real.mu.Unlock()
	var err error
	if real.dir == "" {
		if real.dir, err = os.MkdirTemp("", "redoubt-backends-"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(real.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		real.ca = newAuthority(t)
	}
	dir := filepath.Join(real.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	own(t, dir)
	return dir
}

// servant is whom servers run as; nil: ourselves.
func servant(t *testing.T) *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func own(t *testing.T, path string) {
	t.Helper()
	if c := servant(t); c != nil {
		if err := os.Chown(path, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// write puts a file that only the servers' user reads into dir.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own(t, path)
	return path
}

func command(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil { // Debian keeps servers away from the path of users
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
		if found = append(found, "/usr/sbin/"+name); path == "" {
			path = found[0]
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%s is not here: make deps installs it", name)
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/bin", "HOME=" + dir, "LC_ALL=C"}
	cmd.SysProcAttr = as(servant(t))
	return cmd
}

// run waits for a program that ends.
func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	if out, err := command(t, dir, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// serve starts a program and returns when it accepts connections at the port.
func serve(t *testing.T, dir string, port int, name string, args ...string) {
	t.Helper()
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, dir, name, args...)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = said.Close()
	real.mu.Lock()
	real.stop = append(real.stop, func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
	})
	real.mu.Unlock()
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		c, err := net.DialTimeout("tcp", at(port), time.Second)
		if err == nil {
			_ = c.Close()
			return
		}
		pause(20 * time.Millisecond)
	}
	text, _ := os.ReadFile(said.Name())
	t.Fatalf("%s does not listen:\n%s", name, text)
}

// pause waits for another process, which has no other way to tell.
func pause(d time.Duration) { <-time.After(d) }

func at(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePort is one that nobody listens on now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// authority is the CA of the servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key, a.pem, _ = issue(t, nil, "CA of the servers")
	return a
}

// pool trusts the CA.
func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func issue(t *testing.T, by *authority, name string) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	want := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}
	parent, signer := want, key
	if by == nil {
		want.IsCA, want.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		want.DNSNames, want.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, want, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// certified writes a certificate for db.test with its key, and the CA's, into dir.
func certified(t *testing.T, dir string) (cert, key, ca string) {
	t.Helper()
	_, _, certPEM, keyPEM := issue(t, real.ca, "db.test")
	return write(t, dir, "cert.pem", certPEM), write(t, dir, "key.pem", keyPEM), write(t, dir, "ca.pem", real.ca.pem)
}

// trusting is how our side judges the servers; name "" is that of the address, which
// their certificates are not valid for.
func trusting(name string) *tls.Config {
	return &tls.Config{RootCAs: real.ca.pool(), ServerName: name, MinVersion: tls.VersionTLS12}
}

// stalled is a server that takes connections and says nothing.
func stalled(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	end := make(chan struct{})
	conns.Add(1)
	go func() {
		defer conns.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer conns.Done()
				<-end
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() { close(end); _ = l.Close(); conns.Wait() })
	return l.Addr().String()
}

// babbling is a server that greets everybody with these bytes and goes.
func babbling(t *testing.T, bytes []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Add(1)
	go func() {
		defer conns.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(bytes)
			_ = c.(*net.TCPConn).CloseWrite()
			_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
			_, _ = c.Read(make([]byte, 512))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	return l.Addr().String()
}

// lines joins what a configuration file has.
func lines(text ...string) string { return strings.Join(text, "\n") + "\n" }
