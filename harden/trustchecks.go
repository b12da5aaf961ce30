package harden

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/redoubtmq/redoubt/config"
)

// clusterIdentity and clusterTransport are the rows of trust between nodes.
var (
	clusterIdentity = &Check{
		ID: "P2.1", Slug: "cluster-identity", Phase: 2, Severity: Critical, Weight: 10, Demands: Effective,
		Title:     "Nodes know each other by certificates, and no secret is shared between them",
		Standards: []string{"IEC62443-4-2:CR1.2", "IEC62443-4-2:CR1.5", "ASVS5:11.3.1", "CRA:I.2.d", "CWE-798"},
		Why:       "Whoever has the shared secret of a cluster is a node of it, and owns all others. Secrets of that kind have been shipped with a default and never changed.",
		How:       absentHow + "There is no secret of a cluster then, and the row does not apply.",
		Fix:       "nothing to do until nodes can be joined",
		Looks:     true,
		Run:       noCluster,
	}
	clusterTransport = &Check{
		ID: "P2.3", Slug: "cluster-tls", Phase: 2, Severity: Critical, Weight: 10, Demands: Behavioural,
		Title:     "What nodes say to each other is encrypted, and both sides prove who they are",
		Standards: []string{"IEC62443-4-2:CR3.1", "IEC62443-4-2:CR4.1", "ASVS5:12.3.1", "CRA:I.2.e", "CWE-319"},
		Why:       "Between nodes go all messages of all clients. One link in plain text gives away what TLS has kept from everybody else.",
		How:       absentHow + "No node speaks to another then, and the row does not apply. Positive control: the same list of the kernel has the listeners that the broker names.",
		Fix:       "nothing to do until nodes can be joined",
		Looks:     true,
		Run:       noCluster,
	}
	// backendsProve is about the servers that are asked about clients.
	backendsProve = &Check{
		ID: "P4.5", Slug: "back-ends", Phase: 4, Severity: High, Weight: 8, Demands: Effective,
		Title:     "Servers that are asked about clients prove who they are",
		Standards: []string{"IEC62443-4-2:CR3.1", "IEC62443-4-2:CR4.1", "ASVS5:12.3.1", "CRA:I.2.e", "CWE-319"},
		Why:       "Whoever is between the broker and its database, directory or service reads password hashes there, and answers in its place: he lets in whom he likes, with the rights he likes.",
		How: "Takes each back end of the running process (backends.<name>): where a server is on another host, tls.mode has to be required, or starttls for a directory, which encrypt and verify the server's certificate and name; there is no setting that does not verify. " +
			"A server on loopback or a unix socket may do without. The broker refuses to start with another one unless this row is waived for it.",
		Fix:   "set backends.<name>.tls.mode to required, and tls.ca where the server's CA is not one of the system's",
		Looks: true,
		Run:   judgeBackends,
	}
)

// judgeBackends is row P4.5: what the process holds decides, and what its configuration would
// make of it at the next start counts too.
func judgeBackends(ctx context.Context, e *Env) []Result {
	b, err := e.broker(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	if len(b.Settings) == 0 {
		return unknown(e, "the broker does not say which settings it has; it is older than this doctor")
	}
	names := map[string]bool{}
	for name := range e.Config.Backends {
		names[name] = true
	}
	for key := range b.Settings {
		if name, rest := nameIn(key, "backends."); rest == "type" {
			names[name] = true
		}
	}
	if len(names) == 0 {
		q := e.inquire("node")
		q.see(API, "back ends", "", "none: nobody else is asked about clients", NotApplicable)
		return []Result{q.result(Effective, "no other server is asked about clients")}
	}
	var out []Result
	for _, name := range slices.Sorted(maps.Keys(names)) {
		key := "backends." + name
		q := e.inquire("back-end:" + name)
		q.key = key
		held := config.Backend{Type: plainText(b.Settings[key+".type"]), Servers: listOf(b.Settings[key+".servers"]), URL: plainText(b.Settings[key+".url"])}
		held.TLS.Mode = plainText(b.Settings[key+".tls.mode"])
		if held.Type == "" {
			q.see(API, "the back end in force", "as the configuration has it", "the running process does not have it: redoubt reload", Unknown)
		} else {
			q.backend(API, "the back end in force", &held)
		}
		if c, ok := e.Config.Backends[name]; ok {
			q.backend(ReadConfig, "the back end in the configuration", &c)
		}
		if held.TLS.Mode == config.BackendTLSOff {
			q.fixes = []string{"set " + key + ".tls.mode to required"}
		}
		out = append(out, q.result(Effective, "its servers prove who they are, or are on this host"))
	}
	return out
}

func (q *inquiry) backend(m Method, what string, b *config.Backend) {
	const want = "TLS, or a server on this host"
	servers := b.BackendServers()
	if len(servers) == 0 {
		q.see(m, what, want, "no server of it is understood", Unknown)
		return
	}
	for _, s := range servers {
		switch {
		case s.Local():
			q.see(m, what, want, s.Address+" is on this host", Pass)
		case b.TLS.Mode == config.BackendTLSRequired || b.TLS.Mode == config.BackendTLSStart:
			q.see(m, what, want, fmt.Sprintf("%s with tls.mode %s", s.Address, b.TLS.Mode), Pass)
		case b.TLS.Mode == config.BackendTLSOff:
			q.see(m, what, want, s.Address+" in plain text: whoever is between reads password hashes and answers for it", Fail)
		default:
			q.see(m, what, want, fmt.Sprintf("%s with tls.mode %q, which this doctor does not know", s.Address, shortened(b.TLS.Mode)), Unknown)
		}
		q.source("backends.<name>.tls.mode")
	}
}
