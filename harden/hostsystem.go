package harden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// systemsOf is the day the table below was compared with what the distributions
// publish, and systemsDays how long that counts.
const systemsOf = "2026-11-28"

const systemsDays = 180

// systemSoon is how many days before its end a system is worth a warning.
const systemSoon = 90

// systemEnds is the last day on which a system gets security updates by its ordinary
// terms, those of Debian LTS included: ID and VERSION_ID of os-release(5), or its part before the first dot.
// Sources: debian.org/releases and wiki.debian.org/LTS, ubuntu.com/about/release-cycle,
// alpinelinux.org/releases, the life cycle pages of Red Hat, AlmaLinux, Rocky Linux,
// Oracle, Amazon Linux, Fedora and openSUSE.
var systemEnds = map[string]string{
	"debian 11": "2026-08-31", "debian 12": "2028-06-30", "debian 13": "2030-06-30",
	"raspbian 11": "2026-08-31", "raspbian 12": "2028-06-30", "raspbian 13": "2030-06-30",
	"debian 10": "2024-06-30", "debian 9": "2022-06-30",
	"ubuntu 18.04": "2023-05-31", "ubuntu 20.04": "2025-05-31", "ubuntu 22.04": "2027-04-30", "ubuntu 24.04": "2029-04-30",
	"ubuntu 24.10": "2025-07-10", "ubuntu 25.04": "2026-01-15", "ubuntu 25.10": "2026-07-31", "ubuntu 26.04": "2031-04-30",
	"alpine 3.18": "2025-05-09", "alpine 3.19": "2025-11-01", "alpine 3.20": "2026-04-01", "alpine 3.21": "2026-11-01", "alpine 3.22": "2027-05-01", "alpine 3.23": "2027-11-01",
	"rhel 7": "2024-06-30", "rhel 8": "2029-05-31", "rhel 9": "2032-05-31", "rhel 10": "2035-05-31",
	"almalinux 8": "2029-03-01", "almalinux 9": "2032-05-31", "almalinux 10": "2035-05-31",
	"rocky 8": "2029-05-31", "rocky 9": "2032-05-31", "rocky 10": "2035-05-31",
	"ol 7": "2024-12-31", "ol 8": "2029-07-31", "ol 9": "2032-06-30",
	"centos 7": "2024-06-30", "centos 8": "2024-05-31", "centos 9": "2027-05-31",
	"amzn 2": "2026-06-30", "amzn 2023": "2028-03-15",
	"opensuse-leap 15.5": "2024-12-31", "opensuse-leap 15.6": "2026-04-30",
	"fedora 40": "2025-05-13", "fedora 41": "2025-12-15",
}

// supportedSystem is row P1.12: the system the process has under its feet, which in
// a container is the image's.
func supportedSystem(ctx context.Context, e *Env) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("node")
	const what = "operating system (os-release)"
	const want = "still gets security updates"
	where := fmt.Sprintf("/proc/%d/root/etc/os-release", b.PID)
	name, err := e.system(b.PID)
	if err != nil {
		q.blind(what, want, where, err)
		return []Result{q.result(Kernel, "")}
	}
	end, known := endOf(name)
	now := e.Clock.Now()
	until, err := time.Parse(time.DateOnly, end)
	until = until.AddDate(0, 0, 1)
	switch compared, _ := time.Parse(time.DateOnly, systemsOf); { // that it is a date is tested
	case now.After(compared.AddDate(0, 0, systemsDays)):
		q.told(what, want, fmt.Sprintf("%s, and the table of systems is of %s: a newer redoubt knows", name, systemsOf), where, Unknown)
	case !known || err != nil:
		q.told(what, want, name+" is not in the table of systems", where, Unknown)
	case !now.Before(until):
		q.told(what, want, fmt.Sprintf("%s got its last security update by %s", name, end), where, Fail)
		q.fixes = append(q.fixes, "upgrade to a release that is supported")
	case now.After(until.AddDate(0, 0, -systemSoon)):
		q.told(what, want, fmt.Sprintf("%s gets none after %s", name, end), where, Warn)
	default:
		q.told(what, want, fmt.Sprintf("%s, until %s", name, end), where, Pass)
	}
	return []Result{q.result(Kernel, name+" is supported")}
}

// endOf finds a system in the table: debian 12, rhel 9 for 9.4, alpine 3.22 for 3.22.1.
func endOf(name string) (end string, known bool) {
	for ; !known; name = name[:strings.LastIndexByte(name, '.')] {
		if end, known = systemEnds[name]; known || !strings.Contains(name, ".") {
			break
		}
	}
	return end, known
}

// system is ID and VERSION_ID of what the process has as its root. A link out of
// that is not followed: it would lead into ours.
func (e *Env) system(pid int) (string, error) {
	root, err := os.OpenRoot(filepath.Join(e.proc(), strconv.Itoa(pid), "root"))
	if err != nil {
		return "", err
	}
	defer root.Close()
	// What is installed with the system is the second; a first one that says something
	// else was put there by somebody.
	etc, etcErr := release(root, "etc/os-release")
	usr, usrErr := release(root, "usr/lib/os-release")
	switch {
	case errors.Is(etcErr, fs.ErrNotExist) && usrErr == nil:
		return usr, nil
	case etcErr != nil:
		return "", etcErr
	case usrErr == nil && usr != etc:
		return "", fmt.Errorf("/etc/os-release says %s, /usr/lib/os-release %s", etc, usr)
	case usrErr != nil && !errors.Is(usrErr, fs.ErrNotExist):
		return "", usrErr
	}
	return etc, nil
}

// release reads one os-release.
func release(root *os.Root, name string) (string, error) {
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", err
	}
	values := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	if values["ID"] == "" || values["VERSION_ID"] == "" {
		return "", fmt.Errorf("/%s has no ID and VERSION_ID", name)
	}
	return shortened(values["ID"] + " " + values["VERSION_ID"]), nil
}
