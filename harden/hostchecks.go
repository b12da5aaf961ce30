package harden

// hostChecks is phase 1: what the machine has to be like. All of it is read from
// the kernel, and of the running process where that has its own.
var hostChecks = []*Check{
	{
		ID: "P1.1", Slug: "kernel-files", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "The kernel has room for the files that the connections take",
		Standards: []string{"IEC62443-4-2:CR7.1", "CRA:I.2.h", "CWE-770"},
		Why:       "Each connection is an open file. A kernel that runs out of them refuses everybody at once, the broker's own store and the shell of whoever comes to help included.",
		How: "Takes the connections that the running process allows, or those of the configuration where that asks for more, 1.2 files for each and 256 beside them. fs.nr_open has to be that much, and fs.file-max that much beside what others have open (fs.file-nr); a million connections take 2,097,152. " +
			"Both are the machine's, in a container too, so the limit of the process itself and what its control groups leave for threads (pids.max, at every level) are looked at as well. Files with settings are not read: only what is in force counts. " +
			"Where limits.connections_total is auto the number is a ceiling that nobody planned, and too little room on the machine a warning. " +
			"Baseline edge plans for 10,000 there; baseline cluster demands 2,097,152 files of the machine, whatever is planned.",
		Fix:   "set fs.nr_open and fs.file-max in /etc/sysctl.d/60-redoubt.conf, or lower limits.connections_total to what is planned",
		Looks: true,
		Run:   kernelFiles,
	},
	{
		ID: "P1.2", Slug: "open-files", Phase: 1, Severity: Medium, Weight: 5, Demands: Kernel,
		Title:     "The broker may open as many files as its connections take",
		Standards: []string{"IEC62443-4-2:CR7.1", "CRA:I.2.h", "CWE-770"},
		Why:       "A broker at its limit of open files cannot accept, and cannot open a segment of its store either. It refuses to start when the sum does not fit, but a limit can be lowered while it runs.",
		How: "Reads the limit of open files of the running process from the kernel and holds it against 1.2 files for each connection and 256 beside them, for the connections that are in force or those of the configuration where that asks for more. " +
			"What the unit says (systemctl show) is evidence only where systemd started this very process: it decides nothing about now, and is a warning about the next start. " +
			"Baseline cluster demands 1,048,576, whatever is planned.",
		Fix:   "set LimitNOFILE=1048576 in /etc/systemd/system/redoubt.service.d/10-limits.conf, or lower limits.connections_total to what is planned",
		Looks: true,
		Run:   openFiles,
	},
	{
		ID: "P1.3a", Slug: "syn-backlog", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "A flood of connections that are never finished closes no listener",
		Standards: []string{"RFC4987", "IEC62443-4-2:CR7.1", "CRA:I.2.h", "CWE-400"},
		Why:       "SYN packets cost their sender nothing. Without SYN cookies some thousand of them a second fill the queue of half-open connections; a short backlog loses clients when all of them come back after an outage.",
		How: "In the network namespace of the broker, and unknown from another: tcp_syncookies is 1 or 2, somaxconn is 4096 or more, tcp_max_syn_backlog is not below 128, which the kernel looks at only while cookies are off and has to be 4096 then. " +
			"Asks the kernel (sock_diag) of each listening TCP socket of the process, in both address families, how long its backlog really is, which somaxconn cut when the socket began to listen and which is 4096, how many wait, and how many connections it has lost; twice, so that those that are lost now are told from old ones. " +
			"ListenOverflows and ListenDrops are of all sockets of the namespace; when they grow meanwhile it is a warning.",
		Fix:   "set net.ipv4.tcp_syncookies = 1 and net.core.somaxconn = 4096 in /etc/sysctl.d/60-redoubt.conf, then start the broker again",
		Looks: true,
		Run:   synBacklog,
	},
	{
		ID: "P1.3b", Slug: "conntrack", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "The packet filter can keep track of all connections",
		Standards: []string{"IEC62443-4-2:CR7.1", "CRA:I.2.h", "CWE-770"},
		Why:       "A full table of tracked connections drops new ones without a word, for the whole machine. Entries of devices that vanished stay for five days by default, and those of devices that are silent for longer than they are kept are cut.",
		How: "nf_conntrack_max is twice the connections or more, less than 70 % of it is in use, established connections are kept for a day at most and for longer than clients may be silent (twice limits.keep_alive_max), and the hash has a bucket for eight entries. Not loaded: does not apply. " +
			"In a network namespace of its own, as in a container, the table that packets go through is the node's and not seen: unknown, ask the node. A load balancer in front is never seen. Where limits.connections_total is auto a small table, or the default of five days, is a warning.",
		Fix:   "set net.netfilter.nf_conntrack_max and nf_conntrack_tcp_timeout_established = 7200 in /etc/sysctl.d/60-redoubt.conf, or lower limits.connections_total to what is planned",
		Looks: true,
		Run:   connectionTracking,
	},
	{
		ID: "P1.4", Slug: "reachable", Phase: 1, Severity: High, Weight: 8, Demands: External,
		Title:     "Clients reach TLS, and nothing else",
		Standards: []string{"IEC62443-4-2:CR5.2", "IEC62443-4-2:CR7.7", "ASVS5:12.2.1", "CRA:I.2.j", "CWE-319"},
		Why:       "One port in plain text is where passwords are read from the network, and a port that nobody knows about is one that nobody watches. The usual ones are the second address family, a test listener that stayed, and a port that a container publishes past the firewall.",
		How: "Goes through every listening socket of the process as the kernel lists it, TCP and UDP, IPv4 and IPv6, whatever the configuration says. One that nobody configured, and one without TLS that is not bound to loopback, are findings; the second can be waived. Where TLS is spoken, a CONNECT in plain text must get no CONNACK; its positive control is a ServerHello. " +
			"A listener that believes proxies (proxy_protocol: required) must close what comes without a PROXY header, and a header from another address of this host that is in no network of proxy_sources; positive control: a header from one that is gets an answer. " +
			"A socket on loopback, or with TLS alone, is settled by that: an outsider could see nothing else. Loopback counts while no interface routes it (route_localnet). A listener in plain text on loopback stays unknown, since a proxy or a published port that passes it on is seen from another host only: redoubt doctor --from outside tries its ports there, and --outside FILE takes what it saw, if it is of the last day and a port showed a certificate of this broker, which is the positive control. What then answers in plain text, or on a port for administration or other nodes, is a finding. " +
			"It does not see firewalls in front, addresses that a cloud maps, or what else is published from this host; other sockets of the host and the rules of nft, if they may be read, are mentioned and prove nothing. A broker that looks at itself probes nothing, so that a listener with TLS is unknown there.",
		Fix:   "bind what is not encrypted to 127.0.0.1, and stop what nobody configured",
		Looks: true,
		Run:   reachable,
	},
	{
		ID: "P1.5", Slug: "cluster-reach", Phase: 1, Severity: High, Weight: 8, Demands: Behavioural,
		Title:     "Ports between nodes are for nodes",
		Standards: []string{"IEC62443-4-2:CR5.2", "CRA:I.2.j", "CWE-306"},
		Why:       "Whoever reaches the port of another broker's cluster with its shared secret owns all of its nodes.",
		How:       absentHow + "There are no ports between nodes, and the row does not apply. Positive control: the same list of the kernel has the listeners that the broker names.",
		Fix:       "nothing to do until nodes can be joined; a socket that nobody configured is a finding of row P1.4",
		Looks:     true,
		Run:       noCluster,
	},
	{
		ID: "P1.6", Slug: "cluster-bind", Phase: 1, Severity: Medium, Weight: 5, Demands: Kernel,
		Title:     "Ports between nodes are on a private network",
		Standards: []string{"IEC62443-4-2:CR5.1", "CRA:I.2.j", "CWE-668"},
		Why:       "A port that is for nodes has no business on an address the internet reaches.",
		How:       absentHow + "There are no ports between nodes, and the row does not apply.",
		Fix:       "nothing to do until nodes can be joined; a socket that nobody configured is a finding of row P1.4",
		Looks:     true,
		Run:       noCluster,
	},
	{
		ID: "P1.7", Slug: "not-root", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "The broker does not run as root",
		Standards: []string{"IEC62443-4-2:CR2.1", "CRA:I.2.j", "CWE-250"},
		Why:       "A fault in a process of root's costs the whole machine, and not only what the broker knows.",
		How: "Reads the real, effective, saved and file-system user and group of every thread of the running process from the kernel. User 0 of a user namespace is judged by whom it is outside (uid_map). Group 0 is a warning. " +
			"The broker refuses to start as root without --allow-root.",
		Fix:   "make a user for it, give it the data directory (chown -R) and start the broker as that user",
		Looks: true,
		Run:   notRoot,
	},
	{
		ID: "P1.8", Slug: "capabilities", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "The broker has no capabilities",
		Standards: []string{"IEC62443-4-2:CR2.1", "CRA:I.2.j", "CWE-250"},
		Why:       "A capability is a part of root's rights, and some of them are as good as all: with one of them a fault reads every file, loads a module or traces every process.",
		How:       "Reads the effective and permitted sets of every thread from the kernel. Both have to be empty; net_bind_service alone is well where the process listens on a port below 1024, by the kernel's list of its sockets.",
		Fix:       "start it as a user of its own, with CapabilityBoundingSet= and AmbientCapabilities= in its unit, or --cap-drop ALL; for a port below 1024 leave CAP_NET_BIND_SERVICE",
		Looks:     true,
		Run:       noCapabilities,
	},
	{
		ID: "P1.9", Slug: "no-new-privileges", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "Nothing the broker starts gains rights",
		Standards: []string{"IEC62443-4-2:CR2.1", "CRA:I.2.k", "CWE-250"},
		Why:       "With no_new_privs a fault that starts a program cannot use sudo, or any other that is root's, to get further.",
		How:       "Reads NoNewPrivs of every thread of the running process from the kernel. Where a unit or a container started it, 0 is a failure; by hand, as with make run, a warning: there is nothing then that would confine it.",
		Fix:       "set NoNewPrivileges=yes in the unit, --security-opt no-new-privileges, or allowPrivilegeEscalation: false",
		Looks:     true,
		Run:       noNewPrivileges,
	},
	{
		ID: "P1.10", Slug: "system-calls", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "The kernel offers the broker few system calls",
		Standards: []string{"IEC62443-4-2:CR7.7", "CRA:I.2.k", "CWE-1357"},
		Why:       "Most holes in kernels are in calls that a broker never makes. A filter keeps a fault in the broker from reaching them.",
		How: "Reads Seccomp of every thread of the running process from the kernel: 2 is a filter in force. What it lets through is not told. " +
			"Where a unit or a container started the broker, 0 is a failure; by hand, as with make run, a warning.",
		Fix:   "set SystemCallFilter=@system-service in the unit, or leave the container its default profile (seccompProfile: RuntimeDefault)",
		Looks: true,
		Run:   systemCalls,
	},
	{
		ID: "P1.11", Slug: "clock", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "The clock is kept",
		Standards: []string{"IEC62443-4-2:CR2.11", "RFC8915", "CRA:I.2.l", "CWE-1339"},
		Why:       "Certificates, revocation lists, waivers and records in logs are worth what the clock is. One that is wrong lets expired ones in, or keeps everybody out.",
		How: "Asks the kernel (adjtimex, changing nothing) whether somebody keeps the clock and how far off it may be: a second at most, more is a warning, 16 seconds or nobody a failure. A service that runs and does not tell the kernel does not count. " +
			"A broker whose unit refuses that call cannot tell, and leaves the row to redoubt doctor, which asks the same kernel from its own process; the file of systemd-timesyncd is mentioned and proves nothing. Where doctor may not ask either: unknown.",
		Fix:   "turn on systemd-timesyncd, or chrony with rtcsync; on a virtual machine the host's clock alone is not known to the kernel",
		Looks: true,
		Run:   clockKept,
	},
	{
		ID: "P1.12", Slug: "system-supported", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "The operating system gets security updates",
		Standards: []string{"IEC62443-4-2:CR3.10", "CRA:I.2.c", "CWE-1104"},
		Why:       "What is found in a system after its last update stays open.",
		How: "Reads ID and VERSION_ID of the root the process has, which in a container is the image's and not the node's, and looks for them in a table of " + systemsOf + " that comes with this program. The last 90 days are a warning. " +
			"The two places of os-release have to agree; a system that is not in the table, and a table that is older than 180 days, are unknown. Whether updates are installed is not seen.",
		Fix:   "upgrade to a release that is supported",
		Looks: true,
		Run:   supportedSystem,
	},
	{
		ID: "P1.13", Slug: "remote-access", Phase: 1, Severity: Low, Weight: 3, Demands: Kernel,
		Title:     "Whoever administers the host comes in with a key",
		Standards: []string{"IEC62443-4-2:CR1.1", "CRA:I.2.d", "CWE-521"},
		Why:       "A host that takes passwords over SSH is as safe as the worst of them, and whoever gets in there is behind everything else on this page.",
		How: "Looks whether anything listens on port 22 in the network namespace of the broker. What it demands of who comes is in files that are not the broker's, and a server may be on another port or in another namespace: only a person can tell, and the row is manual. " +
			"It is out of the score.",
		Fix:   "let sshd -T say passwordauthentication no and permitrootlogin no (or prohibit-password), and let its port be reached from where you administer alone",
		Looks: true,
		Run:   remoteAccess,
	},
}
