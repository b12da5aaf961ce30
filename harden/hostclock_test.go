package harden

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// In the unit of the packages the call is refused: a broker that looks at itself leaves the clock
// to redoubt doctor, and no file of a service passes for the kernel's word. Where doctor itself is
// refused, and where something else is wrong, nobody knows.
func TestTheClockUnderAFilter(t *testing.T) {
	file := "../proc/" + on("root/run/systemd/timesync/synchronized") // written whatever the row looks at
	for name, c := range map[string]struct {
		spoil   func(m *machine)
		quiet   bool
		untried bool
		want    string
	}{
		"filtered broker":                 {func(m *machine) { m.silent = syscall.EPERM }, true, true, "does not run here"},
		"filtered broker, with a service": {func(m *machine) { m.silent, m.files[file] = syscall.EPERM, "" }, true, true, "not the kernel's word"},
		"filtered doctor, with a service": {func(m *machine) { m.silent, m.files[file] = syscall.EPERM, "" }, false, false, "not the kernel's word"},
		"a kernel without the call":       {func(m *machine) { m.silent = syscall.ENOSYS }, true, true, "not implemented"},
		"another error":                   {func(m *machine) { m.silent = errors.New("odd") }, true, false, "odd"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.spoil(m)
			m.quiet = c.quiet
			_, row := m.examine("P1.11")
			x := &row.Results[0]
			if x.State != Unknown || x.Untried != c.untried {
				t.Errorf("%s, untried %v", x.State, x.Untried)
			}
			said := ""
			for _, o := range x.Observations {
				said += o.Actual + "\n"
			}
			if !strings.Contains(said, c.want) {
				t.Errorf("nobody says %q:\n%s", c.want, said)
			}
		})
	}
}
