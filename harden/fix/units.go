package fix

import "strings"

// sandbox is what confines the service, as the unit of the package has it, without what
// depends on where programs and files are.
var sandbox = []string{
	"NoNewPrivileges=yes", "RestrictSUIDSGID=yes",
	"ProtectHostname=yes", "ProtectClock=yes", "ProtectKernelTunables=yes", "ProtectKernelModules=yes", "ProtectKernelLogs=yes", "ProtectControlGroups=yes",
	"RestrictNamespaces=yes", "RestrictRealtime=yes", "LockPersonality=yes", "MemoryDenyWriteExecute=yes",
	"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
	"SystemCallArchitectures=native", "SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @resources", "SystemCallFilter=sched_setattr", "SystemCallErrorNumber=EPERM",
}

// noRights and lowPortRights are the capabilities of a broker, and of one with a port
// below 1024.
var (
	noRights      = []string{"CapabilityBoundingSet=", "AmbientCapabilities="}
	lowPortRights = []string{"CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE"}
)

// sandboxText is the drop-in that confines the service.
func sandboxText(lowPort bool) string {
	rights, why := noRights, "no port of the broker is below 1024"
	if lowPort {
		rights, why = lowPortRights, "a port of the broker is below 1024"
	}
	return "# P1.8, P1.9, P1.10: few rights and few system calls, as the unit of the package has them.\n" +
		"[Service]\n" + strings.Join(sandbox, "\n") + "\n# " + why + "\n" + strings.Join(rights, "\n") + "\n"
}

// firewallText is the drop-in that loads the table before the broker starts, as root and
// outside of the sandbox. That it cannot be loaded is no reason not to start.
const firewallText = "# P1.4: the table is in force before the broker listens; without nft it starts all the same.\n" +
	"[Service]\nExecStartPre=-+/usr/sbin/nft -f " + tableFile + "\n"

// unitText puts directives of [Service] into the body of a drop-in.
func unitText(text string, add []value) (string, bool) {
	if strings.TrimSpace(text) == "" {
		text = "[Service]\n"
	}
	out, changed := merge(text, add, "=")
	if !changed {
		return text, false
	}
	section := ""
	for _, line := range lines(text) {
		if l := strings.TrimSpace(line); strings.HasPrefix(l, "[") {
			section = l
		}
	}
	if section != "[Service]" { // what is appended must not get into another one
		at := len(out)
		for _, v := range add {
			if i := strings.Index(out, ownWords+v.why+"\n"); i >= 0 {
				at = min(at, i)
			}
		}
		out = out[:at] + "[Service]\n" + out[at:]
	}
	return out, true
}
