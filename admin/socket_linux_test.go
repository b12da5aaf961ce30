package admin

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asUser runs fn on a thread of its own that became another user, and lets the
// thread die with it. Only root can; package os and net would hop threads, so fn
// makes system calls.
func asUser(t *testing.T, uid int, fn func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		// The raw call changes this thread alone; syscall.Setresuid changes all.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- fmt.Errorf("setresuid: %w", errno)
			return
		}
		done <- fn()
	}()
	return <-done
}

// request makes one HTTP request with nothing but system calls.
func request(socket, text string, answer *string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		*answer += string(buf[:n])
	}
}

const addAsRequest = "POST " + usersURL + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{\"user_id\":\"eve\"}"

func TestOtherUsersCannotUseTheSocket(t *testing.T) {
	stranger := os.Geteuid() + 4711
	if os.Geteuid() != 0 {
		// Without root nobody can become somebody else; then the broker does, and we
		// are the stranger.
		r := newRig(t, func(s *Server) { s.guard.uid = stranger })
		if _, err := r.client.Add(t.Context(), "eve", ShownOnce{}.Value); status(err) != http.StatusForbidden {
			t.Errorf("a stranger was answered %v", err)
		}
		return
	}
	r := newRig(t, nil)
	var answer string
	if err := asUser(t, stranger, func() error { return request(r.socket, addAsRequest, &answer) }); err != unix.EACCES {
		t.Errorf("connect as another user: %v, want permission denied", err)
	}
	// Even where the file system lets everybody in, the kernel says who it is.
	for p := r.socket; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	answer = ""
	if err := asUser(t, stranger, func() error { return request(r.socket, addAsRequest, &answer) }); err != nil {
		t.Fatalf("connect: %v", err)
	}
	if !strings.HasPrefix(answer, "HTTP/1.1 403 ") || !strings.Contains(answer, problemType) || !strings.Contains(answer, "Connection: close") {
		t.Errorf("a stranger was answered %q", answer)
	}
	if r.store.Len() != 0 {
		t.Error("a stranger added a user")
	}
	if want := fmt.Sprintf(`"peer_uid":%d,"peer_pid":%d`, stranger, os.Getpid()); !strings.Contains(r.log.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, r.log.String())
	}
}

// Root may use the socket of a broker that runs as somebody else; a third user may
// not, and neither may a caller the kernel says nothing about.
func TestWhoMayCall(t *testing.T) {
	if os.Geteuid() == 0 {
		r := newRig(t, func(s *Server) { s.guard.uid = 4711 })
		if _, err := r.client.Status(t.Context()); err != nil {
			t.Errorf("root was refused: %v", err)
		}
	}
	r := newRig(t, nil)
	for _, c := range []struct {
		name  string
		peer  any
		allow bool
	}{
		{"same user", peer{uid: os.Geteuid(), pid: 1}, true},
		{"root", peer{uid: 0, pid: 1}, true},
		{"another", peer{uid: os.Geteuid() + 1, pid: 1}, false},
		{"nobody", nil, false},
	} {
		req, err := http.NewRequest(http.MethodGet, "/api/v5/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx := req.Context()
		if c.peer != nil {
			ctx = contextWith(ctx, c.peer.(peer))
		}
		w := &recorder{ResponseWriter: discard{http.Header{}}}
		r.server.guard.ServeHTTP(w, req.WithContext(ctx))
		if got := w.status == http.StatusOK; got != c.allow {
			t.Errorf("%s: status %d", c.name, w.status)
		}
	}
}
