package config

// Audit is what is written down of who did what.
type Audit struct {
	DataPlane string `yaml:"data_plane"` // AuditFailures or AuditAll
}

// What is written down of clients.
const (
	AuditFailures = "failures" // who is refused, and what
	AuditAll      = "all"      // who is let in, too
)

var rowsAudit = []Row{
	{Key: "audit", Kind: KindSection, Since: release,
		Why: "What is written down of who did what."},
	{Key: "audit.data_plane", Kind: KindEnum, Default: AuditFailures, Values: []string{AuditFailures, AuditAll},
		Why:   "What of clients: failures is who is refused, with reason and reference; all is who is let in as well, with user, client identifier, address, listener and authenticator. A line stands for a minute of one client and rule, of one identity and reason at CONNECT, or of one network (/24, /56) and reason where nobody has proved who he is; another says how often it came again, and has the reference of the last. Lines are 25 a second at most: of a fleet that comes back they are a sample, which says how many it leaves out.",
		Since: release, Reload: Live},
}
