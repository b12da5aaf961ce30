// Package admin is how an operator talks to a running broker: an HTTP API on a
// unix socket that asks the kernel who is calling, the metrics and health pages
// on loopback, and the client of that API for the command line. It decides
// nothing about MQTT: each operation declares who may use it, checks its input
// and calls one of the small interfaces cmd passes in.
//
// Rules: OpenAPI 3.1 made from the code, paths and shapes of EMQX's /api/v5,
// RFC 9457 errors, checklist row P2.2 (socket mode); ASVS 5.0 §13.1.2
// (documented limits) and §16.3 (what is logged).
package admin

import (
	"context"
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/acl"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Users are the users of the built-in authenticator. BuiltinUsers is the
// implementation of a broker, Client that of a remote one.
type Users interface {
	// List answers one page, sorted by name.
	List(ctx context.Context, q UserQuery) (UserPage, error)
	// Add makes a user. With an empty password a secret is generated and
	// answered, this once, in User.Password.
	Add(ctx context.Context, name string, password secret.Value, with ...builtin.Extra) (User, error)
	// SetPassword replaces a user's password, in the same way.
	SetPassword(ctx context.Context, name string, password secret.Value, with ...builtin.Extra) (User, error)
	Delete(ctx context.Context, name string) error
	// Import adds the users of a file. Users that fail are in the report.
	Import(ctx context.Context, q *UserImport, file []byte) (builtin.ImportReport, error)
	// Export answers one page of users as a file has them, sorted by name.
	Export(ctx context.Context, q UserExport) (ExportPage, error)
}

// Policy is where the rules in force are; *auth.Authorizer is one.
type Policy interface{ Policy() *auth.Policy }

// Status says how the broker is. It is called from many goroutines and must
// answer at once.
type Status interface{ Status() StatusReport }

// Reloader reloads the configuration in two phases. After an error nothing has
// changed, and the error says why, with file and line.
type Reloader interface {
	Reload(ctx context.Context) (ReloadReport, error)
}

// StatusReport is a broker's own account.
type StatusReport struct {
	Name          string           `json:"name" doc:"Name of the node (node.name)."`
	Version       string           `json:"version" doc:"Version of the program."`
	Status        string           `json:"status" enum:"running,not_ready" doc:"running: clients are served."`
	NotReady      []string         `json:"not_ready,omitempty" doc:"Why clients are not served."`
	StartedAt     time.Time        `json:"started_at" doc:"When the broker started."`
	UptimeSeconds int64            `json:"uptime_seconds" doc:"Seconds since then."`
	Listeners     []ListenerStatus `json:"listeners" doc:"Every address that is listened on."`
	Connections   int64            `json:"connections" doc:"Network connections open now."`
	Sessions      int64            `json:"sessions" doc:"Sessions held, connected or not."`
	Subscriptions int64            `json:"subscriptions" doc:"Subscriptions held."`
	Retained      int64            `json:"retained_messages" doc:"Retained messages held, without the broker's own under $SYS."`
	RetainedOwn   int64            `json:"retained_messages_own" doc:"Retained messages of the broker's own, under $SYS."`
	Store         StoreStatus      `json:"store" doc:"What survives a crash."`
	Memory        MemoryStatus     `json:"memory" doc:"Who keeps memory, and what is shed because it is short."`
	ConfigFile    string           `json:"config_file" doc:"Configuration file in use; empty: built-in defaults."`
	DataDir       string           `json:"data_dir" doc:"Data directory (node.data_dir)."`

	ConnectionsMax int64 `json:"connections_max" doc:"Connections that are let in altogether, as it is in force now (limits.connections_total)."`

	ConcernStatus
	EntranceStatus
	IdleSettings
}

// ConcernStatus is what wants a person.
type ConcernStatus struct {
	Alarms    []AlarmStatus    `json:"alarms,omitempty" doc:"What is wrong now, the oldest first."`
	Hardening *HardeningStatus `json:"hardening,omitempty" doc:"What the broker has seen of its own hardening; absent until it has looked, some seconds after the start."`
}

// HardeningStatus is the last look of the broker at its own hardening: the rows of the checklist
// that need no probe.
type HardeningStatus struct {
	Score   int       `json:"score" doc:"From 0 to 100, of these rows."`
	Cap     int       `json:"cap" doc:"The most it can be with what fails; 100: nothing holds it down."`
	At      time.Time `json:"at" doc:"When it was looked at."`
	Stale   bool      `json:"stale" doc:"It was looked at longer ago than twice the interval, and says nothing of now."`
	Report  uint64    `json:"report,omitempty" doc:"The number of the signed report in the chain of the node; absent: it is not signed."`
	SHA256  string    `json:"sha256,omitempty" doc:"Of the signed report, as the next one has it."`
	Rows    int       `json:"rows" doc:"How many rows were looked at."`
	Failed  []string  `json:"failed" doc:"Rows that fail."`
	Unknown []string  `json:"unknown" doc:"Rows that could not be seen."`
	Untried []string  `json:"untried" doc:"Rows that only a probe could tell, which redoubt doctor tries: not in the score."`
	Warned  int       `json:"warned" doc:"Rows that hold and are looser than the checklist."`
	Waived  int       `json:"waived" doc:"Rows that somebody has waived."`
	Hangs   string    `json:"hangs,omitempty" doc:"A look that does not end, and what it is looking at: all else is of the look before, and nobody knows how it is now."`
	Idle    int       `json:"idle_waivers" doc:"Waivers that cover nothing: where nothing fails."`
}

// BackendStatus is a server of somebody else's that is asked about clients.
type BackendStatus struct {
	Name     string   `json:"name" doc:"Its key in backends."`
	Type     string   `json:"type" doc:"What it speaks."`
	Servers  []string `json:"servers" doc:"Where it is."`
	State    string   `json:"state" enum:"closed,open" doc:"Of its breaker: open while it is left alone because it failed."`
	Why      string   `json:"why,omitempty" doc:"Why the breaker is open."`
	Waiting  int      `json:"waiting" doc:"Questions that wait for a connection."`
	Asking   int      `json:"asking" doc:"Questions under way."`
	Answered int64    `json:"answered" doc:"Questions that had an answer."`
	Failed   int64    `json:"failed" doc:"Questions that had none, those that were not asked included."`
}

// EntranceStatus is what clients meet before they are in.
type EntranceStatus struct {
	Stopped      []StoppedListener   `json:"stopped_listeners,omitempty" doc:"Listeners that operators have stopped."`
	Draining     []DrainingAddress   `json:"draining,omitempty" doc:"Addresses that take nobody any more and carry connections of QUIC."`
	Certificates []CertificateStatus `json:"certificates,omitempty" doc:"What listeners show to clients."`
	Backends     []BackendStatus     `json:"backends,omitempty" doc:"Servers of others that are asked about clients."`
	Bans         *BanCounts          `json:"bans,omitempty" doc:"Bans there are, by who made them; absent: none."`
	Traffic      TrafficStatus       `json:"traffic" doc:"What goes on, of all clients and strangers together; GET /top says who."`
}

// TrafficStatus is how much goes on, each second within the last half minute to minute.
type TrafficStatus struct {
	MessagesIn  float64 `json:"messages_in_per_second" doc:"Messages that clients publish."`
	MessagesOut float64 `json:"messages_out_per_second" doc:"Messages to clients."`
	Connects    float64 `json:"connects_per_second" doc:"Clients that connect."`
	Refused     float64 `json:"refused_per_second" doc:"Connections and logins that are refused."`
}

// StoppedListener is one that an operator has stopped: nobody can connect there.
type StoppedListener struct {
	Name        string    `json:"name" doc:"Name of the listener."`
	Since       time.Time `json:"since" doc:"Since when."`
	By          string    `json:"by" doc:"Who has stopped it."`
	Connections int64     `json:"connections" doc:"Connections open now that came in there before."`
}

// DrainingAddress is a socket that lives for who came in there before.
type DrainingAddress struct {
	Name    string `json:"name" doc:"Name of the listener."`
	Address string `json:"address" doc:"Address and port it is bound to."`
}

// IdleSettings are those that were changed at run time and do not count now.
type IdleSettings struct {
	PendingRestart []string `json:"pending_restart,omitempty" doc:"Settings that were changed at run time and wait for the next start, one line each."`
	NotInForce     []string `json:"not_in_force,omitempty" doc:"Settings of run time that do not fit and were left out, one line each."`
}

// BanCounts are how many bans there are.
type BanCounts struct {
	Operator int64 `json:"operator" doc:"Made by operators, at run time. One that is over counts until it is forgotten, a minute later at most."`
	File     int64 `json:"file" doc:"From bans.file. One that is over counts until the file is read again."`
	Flapping int64 `json:"flapping" doc:"Made by the broker, of clients that connect over and over."`
}

// CertificateStatus is one that a listener shows to clients.
type CertificateStatus struct {
	Listener    string    `json:"listener" doc:"Name of the listener."`
	File        string    `json:"file,omitempty" doc:"Where it is from; empty: the built-in CA."`
	Names       []string  `json:"names" doc:"Host names and addresses it is valid for."`
	NotAfter    time.Time `json:"not_after" doc:"When it expires."`
	Fingerprint string    `json:"fingerprint" doc:"SHA-256 of the certificate, in hexadecimal digits."`
	Staple      string    `json:"staple" doc:"The answer of its OCSP responder that goes with it: how long it counts, why there is none, off, or not applicable."`
	Differs     string    `json:"differs,omitempty" doc:"How what the listener serves differs from what its files hold now; looked at every five seconds."`
}

// AlarmStatus is something that is wrong now.
type AlarmStatus struct {
	Name    string    `json:"name" doc:"What it is about; docs/alarms.md says what each means and what to do."`
	Subject string    `json:"subject,omitempty" doc:"Which listener, file or part; empty: the node."`
	Why     string    `json:"why" doc:"What was seen."`
	Since   time.Time `json:"since" doc:"When it began."`
}

// StoreStatus is how the log is. What is a pointer is looked at every few seconds, and nil
// until the first look after a start: 0 is a number that somebody has seen.
type StoreStatus struct {
	Bytes    int64  `json:"bytes" doc:"Bytes of the log on the disk."`
	MaxBytes int64  `json:"max_bytes" doc:"How large it may become (store.max_bytes)."`
	Segments int    `json:"segments" doc:"Files of the log."`
	First    uint64 `json:"first" doc:"Number of its oldest record."`
	Last     uint64 `json:"last" doc:"Number of its newest record."`
	Failed   string `json:"failed,omitempty" doc:"Why it acknowledges nothing any more."`
	Refuses  string `json:"refuses,omitempty" doc:"Why publishes that must be stored are refused now."`
	Free     *int64 `json:"free_bytes" doc:"Bytes that its disk still has; null: not looked at yet."`

	Rescued      int64        `json:"rescued_messages" doc:"Messages that sessions still want and the log had no more room for."`
	RescuedBytes int64        `json:"rescued_bytes" doc:"Bytes of those; they count against max_bytes."`
	Index        *IndexStatus `json:"index" doc:"Bytes of the index on the disk, about; null: not looked at yet."`
	Writes       WriteStatus  `json:"writes" doc:"How the disk takes what is written."`

	Behind   *int    `json:"sessions_behind" doc:"Sessions for which messages wait in the log; null: not looked at yet."`
	Away     *int    `json:"sessions_behind_away" doc:"Those of them without a connection; null: not looked at yet."`
	Groups   *int    `json:"shares_behind" doc:"Shared subscriptions for which messages wait that no member can take; null: not looked at yet."`
	Waiting  *int64  `json:"waiting_messages" doc:"Messages that wait, once for each session and each shared subscription; null: not looked at yet."`
	Lag      *Lag    `json:"waiting" doc:"What waits, by whether a client is connected, and for shared subscriptions; null: not looked at yet."`
	Oldest   *uint64 `json:"oldest_wanted" doc:"The oldest record that somebody still wants; the log keeps what is newer, or it is rescued. 0: nobody wants any; null: not looked at yet."`
	ClientID string  `json:"oldest_wanted_by_clientid,omitempty" doc:"Whose session that is; $share/... : that shared subscription."`
	Identity string  `json:"oldest_wanted_by_identity,omitempty" doc:"Whose session that is; none for a shared subscription."`
}

// Lag is what waits in the log for sessions with a client, and for those without one.
type Lag struct {
	ConnectedMessages int64 `json:"connected_messages" doc:"Messages for sessions with a client, which is slower than they come."`
	ConnectedBytes    int64 `json:"connected_bytes" doc:"Bytes of those."`
	AwayMessages      int64 `json:"away_messages" doc:"Messages for sessions without a client."`
	AwayBytes         int64 `json:"away_bytes" doc:"Bytes of those."`
	SharedMessages    int64 `json:"shared_messages" doc:"Messages for shared subscriptions whose members could not take them."`
	SharedBytes       int64 `json:"shared_bytes" doc:"Bytes of those."`
}

// IndexStatus is what the index of the log holds.
type IndexStatus struct {
	Postings int64 `json:"postings" doc:"Bytes of what finds the messages of a filter in the log."`
	Sessions int64 `json:"sessions" doc:"Bytes of sessions and their subscriptions."`
	Retained int64 `json:"retained" doc:"Bytes of retained messages."`
	Values   int64 `json:"values" doc:"Bytes of users and other settings in the log."`
	Rescued  int64 `json:"rescued" doc:"Bytes of messages that the log had no more room for."`
}

// WriteStatus is how the disk takes what is written to the log.
type WriteStatus struct {
	Commits            int64 `json:"commits" doc:"Writes of the log since the start, each flushed for everybody who waited."`
	Records            int64 `json:"records" doc:"Records in them."`
	AverageMicros      int64 `json:"average_microseconds" doc:"How long writing and flushing took on average."`
	SlowerThanAHundred int64 `json:"slower_than_100ms" doc:"Writes that took longer than 100 ms."`
}

// ListenerStatus is one address of one listener.
type ListenerStatus struct {
	Name        string `json:"name" doc:"Name of the listener."`
	Address     string `json:"address" doc:"Address and port it is bound to."`
	Protocol    string `json:"protocol" doc:"Protocol spoken there."`
	ClientCert  string `json:"client_cert,omitempty" enum:"none,optional,required" doc:"Whether clients are asked for a certificate; absent without TLS."`
	Connections int64  `json:"connections" doc:"Network connections open now on the listener, at all of its addresses together."`
}

// MemoryStatus is what there is of memory and who keeps it, in bytes.
type MemoryStatus struct {
	Level string       `json:"level" enum:"fine,warm,strangers,qos0,idle,lagging" doc:"How much is shed because memory is short."`
	Limit int64        `json:"limit" doc:"The limit in force; 0: none."`
	Sure  int64        `json:"sure" doc:"What is surely in use; its part of the limit decides the level."`
	Rooms []MemoryRoom `json:"rooms" doc:"What parts of the broker keep, about; looked at within the last half minute."`
	// Listeners are by name.
	Listeners []MemoryRoom `json:"listeners" doc:"What connections at each listener keep, with the sessions whose clients came in there last."`
}

// MemoryRoom is a part of the broker.
type MemoryRoom struct {
	Name  string `json:"name" doc:"Which part, or listener."`
	Bytes int64  `json:"bytes" doc:"What it keeps."`
}

// ReloadReport says what a reload did.
type ReloadReport struct {
	Changed []string `json:"changed" doc:"What is different now, one line each."`
}

// Options is what a Server needs; everything above the line is required.
type Options struct {
	Version  string // for the OpenAPI document
	Clock    clock.Clock
	Log      *slog.Logger
	Users    Users
	Policy   Policy
	Status   Status
	Reloader Reloader

	Probes *Probes // nil: no operations to make probe users
	Limits Limits  // nil: no operation to read the limits

	Clients  Clients  // nil: no operations on clients, sessions and subscriptions
	Retained Retained // nil: no operations on retained messages
	LogLevel LogLevel // nil: no operations on the log level
	Settings Settings // nil: no operations on the configuration in force
	Bans     Bans     // nil: no operations on bans
	Tokens   Tokens   // nil: no operations on tokens

	Rules *acl.Store // nil: no operations on built-in rules

	Listeners  Listeners  // nil: no operations on listeners
	RuleReader RuleReader // nil: no operation that reads rules again

	Explaining
}

// Explaining is what Options have for operators who ask why, or what would be.
type Explaining struct {
	Whys     Whys          // nil: no operations that explain
	Refusals *audit.Recent // not nil where Whys is not
	Logins   Logins        // nil: no operation that tries a login
	Chains   Chains        // nil: no operation that tries chains

	Candidates Candidates // nil: no operations on rules that are tried
	Observers  Observers  // nil: no operations that watch and suggest rules
	Talkers    Talkers    // nil: no operation that says who does most
}

func (o *Options) check() {
	if o.Clock == nil || o.Log == nil || o.Users == nil || o.Policy == nil || o.Status == nil || o.Reloader == nil {
		panic("BUG: admin: Options has an empty field")
	}
}
