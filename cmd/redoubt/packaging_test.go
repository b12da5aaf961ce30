package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

func packaged(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "packaging", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The unit has what rows of the checklist and the broker's own start count on. How much it
// is exposed is for systemd to say: `make package-test`.
func TestTheUnitIsConfined(t *testing.T) {
	t.Parallel()
	lines := strings.Split(packaged(t, "linux/redoubt.service"), "\n")
	for _, want := range []string{
		"Type=notify", "WatchdogSec=30", "Restart=on-failure", "ExecStart=/usr/bin/redoubt serve", "ExecReload=/usr/bin/redoubt reload", "User=redoubt", "UMask=0077",
		"StateDirectory=redoubt", "StateDirectoryMode=0700", "LimitNOFILE=1048576", "LimitCORE=0", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "AmbientCapabilities=",
		"PrivateUsers=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateDevices=yes", "MemoryDenyWriteExecute=yes", "RestrictNamespaces=yes",
		"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK", "SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @resources", "SystemCallFilter=sched_setattr", "SystemCallArchitectures=native",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the unit has no line %s", want)
		}
	}
	for _, l := range lines {
		// A crash of a program in Go is exit status 2: what is not started again after that stays down.
		if strings.HasPrefix(l, "RestartPreventExitStatus=") || strings.HasPrefix(l, "SuccessExitStatus=") || strings.HasPrefix(l, "ProcSubset=") || strings.Contains(l, "allow-root") {
			t.Errorf("the unit has %s", l)
		}
	}
}

// What the example of nftables lets in is what listens by default, and what it keeps out is
// what has no TLS; so with the ports of a container.
func TestPortsAreThoseOfTheConfiguration(t *testing.T) {
	t.Parallel()
	loaded, err := config.Load(config.Options{File: filepath.Join("..", "..", "packaging", "linux", "redoubt.yaml"), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, l := range loaded.Config.Listeners {
		for _, bind := range l.Bind {
			want = append(want, bind[strings.LastIndexByte(bind, ':')+1:])
		}
	}
	slices.Sort(want)
	rules := packaged(t, "linux/nftables.conf")
	set := func(name string) (ports []string) {
		m := regexp.MustCompile(`set ` + name + ` \{[^}]*?elements = \{([^}]*)\}`).FindStringSubmatch(rules)
		if m == nil {
			t.Fatalf("no set %s", name)
		}
		for p := range strings.SplitSeq(m[1], ",") {
			ports = append(ports, strings.TrimSpace(p))
		}
		slices.Sort(ports)
		return ports
	}
	if got := set("client_tcp"); !slices.Equal(got, want) {
		t.Errorf("nftables lets in %v, and the broker listens on %v", got, want)
	}
	pages := loaded.Config.Metrics.Bind[0]
	if got := set("inner_tcp"); !slices.Contains(got, pages[strings.LastIndexByte(pages, ':')+1:]) {
		t.Errorf("metrics are on %s, and nftables keeps out %v", pages, got)
	}
	exposed := regexp.MustCompile(`(?m)^EXPOSE (.*)$`).FindStringSubmatch(packaged(t, "container/Containerfile"))
	if got := strings.Fields(exposed[1]); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("the container has ports %v", got)
	}
}
