package listener

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// What is asked for is what the kernel has, as far as it lets us; and it is read
// from the kernel.
func TestListenBacklogIsReadBack(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{7, 100, most, most + 1000} {
		s, granted, err := listen("127.0.0.1:0", want)
		if err != nil {
			t.Fatal(err)
		}
		if granted != min(want, most) {
			t.Errorf("asked for %d of at most %d, granted %d", want, most, granted)
		}
		_ = s.Close()
	}
	l := &Listener{Name: "test"}
	if _, known := l.Backlog(); known || l.ShortBacklog() != "" {
		t.Error("a listener without a socket knows its backlog")
	}
	if err := l.Bind([]string{"127.0.0.1:0", "[::1]:0"}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if granted, known := l.Backlog(); !known || granted != min(ListenBacklog, most) {
		t.Errorf("granted %d (known: %v), want %d", granted, known, min(ListenBacklog, most))
	}
}

// Less than was asked for is said with the sum; what is not known is not.
func TestAShortBacklogIsExplained(t *testing.T) {
	for _, row := range []struct {
		backlogs []int
		least    int
		known    bool
		says     string
	}{
		{[]int{ListenBacklog}, ListenBacklog, true, ""},
		{[]int{ListenBacklog, 128}, 128, true, "sysctl -w net.core.somaxconn=4096"},
		{[]int{128, backlogUnknown}, 0, false, ""},
	} {
		l := &Listener{backlogs: row.backlogs}
		least, known := l.Backlog()
		says := l.ShortBacklog()
		if least != row.least || known != row.known || (row.says == "") != (says == "") || !strings.Contains(says, row.says) {
			t.Errorf("%v: %d %v %q", row.backlogs, least, known, says)
		}
	}
}
