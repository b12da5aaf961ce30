package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// fromOutside is the only place that --from knows.
const fromOutside = "outside"

// lookFromOutside tries the ports of a broker's host from another one. It needs no
// configuration, and asks no broker for anything.
func (f *doctorFlags) lookFromOutside(cmd *cobra.Command) error {
	format, err := harden.ParseFormat(f.output)
	switch {
	case f.from != fromOutside:
		return &usageError{fmt.Errorf("--from %q: it is %s", f.from, fromOutside)}
	case err != nil || format != harden.FormatTable && format != harden.FormatJSON:
		return &usageError{fmt.Errorf("--output %s: what is seen from outside is shown as a table or as json", f.output)}
	case len(f.targets) != 1:
		return &usageError{errors.New("--from outside tries the host of --target HOST, one at a time")}
	}
	host := strings.Trim(f.targets[0], "[]")
	if h, port, err := net.SplitHostPort(f.targets[0]); err == nil {
		return &usageError{fmt.Errorf("--target %s: with --from outside it is a host alone, %s; --ports %s adds that port", f.targets[0], h, port)}
	}
	ports := make([]uint16, len(f.ports))
	for i, p := range f.ports {
		if p == 0 || p > 65535 {
			return &usageError{fmt.Errorf("--ports %d: it is 1 to 65535", p)}
		}
		ports[i] = uint16(p)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.within)
	defer cancel()
	seen, err := harden.LookFromOutside(ctx, clock.System{}, host, version, ports)
	if err != nil {
		return doctorError{fmt.Errorf("--target %s: %w", host, err)}
	}
	write := seen.WriteText
	if format == harden.FormatJSON {
		write = seen.WriteJSON
	}
	if err := write(cmd.OutOrStdout()); err != nil {
		return doctorError{err}
	}
	if code := seen.ExitCode(); code != harden.ExitClean {
		return doctorVerdict(code)
	}
	return nil
}

// seenOutside reads what that saw; "": nothing was seen.
func seenOutside(path string) (*harden.Outside, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--outside: %w", err)
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("--outside: %w", err)
	}
	if fi.Mode().IsRegular() && fi.Mode().Perm()&0o002 != 0 { // its group may be the user's own
		return nil, fmt.Errorf("--outside %s: everybody can change it, so that it proves nothing: have it made anew where nobody else can (mode %04o)", path, fi.Mode().Perm())
	}
	o, err := harden.ReadOutside(file)
	if err != nil {
		return nil, fmt.Errorf("--outside %s: %w", path, err)
	}
	return o, nil
}
