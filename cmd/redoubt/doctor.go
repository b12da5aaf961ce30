package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// doctorWithin bounds a run, probes included, unless --within says otherwise, and
// doctorWithinMax what that may say: a user of the probes lives no longer.
const (
	doctorWithin    = 30 * time.Second
	doctorWithinMax = time.Minute
)

// doctorFlags are the flags of redoubt doctor.
type doctorFlags struct {
	only       []string
	explain    string
	evidence   bool
	failOn     string
	maxUnknown int
	good       string
	denyGood   bool
	revoked    string
	targets    []string
	within     time.Duration
	output     string
	baseline   string
	diff       string
	watch      time.Duration
	verify     []string
	key        string
	publicKey  bool
	from       string
	ports      []uint
	outside    string
}

func doctorCmd(g *globals) *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that the hardening holds, by looking and by trying",
		Long: "Judges the hardening checklist on the files, on what the kernel reports and by probes of the running broker,\n" +
			"each with its positive control. What could not be observed is unknown and never counts as pass.\n" +
			"The probes are ordinary clients with users made for the run, which end by themselves; nothing of the broker is changed.\n" +
			"Run it as the user the broker runs as, or as root.\n\n" +
			"Exit codes: 0 nothing failed at or above --fail-on, 1 findings, 2 usage, or the checker could not do its work,\n" +
			"3 more rows are unknown than --max-unknown. They are the same in every form of the report.\n\n" +
			"A run over all rows of a running broker is kept in its data directory (doctor.json), for --diff last.\n" +
			"It is signed by the key of the node and names the report before it: --verify, docs/security/doctor.md.",
		Example: "  redoubt doctor\n  redoubt doctor --only P4.1,P4.2 --evidence\n  redoubt doctor -o json --fail-on high --max-unknown 1\n  redoubt doctor -o sarif > doctor.sarif\n" +
			"  redoubt doctor -o html > doctor.html\n  redoubt doctor --diff last\n  redoubt doctor --watch 10m\n  redoubt doctor --from outside --target broker.example.com -o json > outside.json\n  redoubt doctor --outside outside.json\n  redoubt doctor --public-key > node.pem\n  redoubt doctor --verify doctor.json --key node.pem\n  redoubt doctor --explain P3.1",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return doctor(cmd, g, &f) },
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&f.only, "only", nil, "check these rows `ID,...` and no others")
	fs.Var((*once)(&f.explain), "explain", "say what the row `ID` demands, why, and how it is checked; check nothing")
	fs.BoolVar(&f.evidence, "evidence", false, "show every observation")
	fs.StringVar(&f.failOn, "fail-on", string(harden.Low), "lowest `SEVERITY` of a failed row that makes the exit code 1: critical, high, medium or low")
	fs.IntVar(&f.maxUnknown, "max-unknown", 0, "how many rows may be unknown before the exit code is 3")
	fs.StringVar(&f.good, "client-cert", "", "show this good certificate of a client where the CA is not that of the broker: a `FILE` in PEM with certificate, chain and key")
	fs.BoolVar(&f.denyGood, "deny-client-cert", false, "let the broker deny that certificate for a minute, to see that its sessions and connections end: nobody else may have it")
	fs.StringVar(&f.revoked, "revoked-cert", "", "the same with a revoked one, which must be refused: a `FILE`")
	fs.StringSliceVar(&f.targets, "target", nil, "connect to these addresses `HOST:PORT,...` of the broker, too, as clients from elsewhere do; see listeners.<name>.advertised")
	fs.StringVarP(&f.output, "output", "o", string(harden.FormatTable), "the `FORM` of the report: table, json, sarif, oscal, junit, html or md; oscal-component is the definition of the broker as a component of OSCAL, and checks nothing")
	fs.StringVar(&f.baseline, "baseline", string(harden.Internet), "what `KIND` of node is judged: edge, internet or cluster; docs/security/checks.md says what each demands")
	fs.Var((*once)(&f.diff), "diff", "show only what has changed since the report in `FILE` (of -o json), or since the last run (last); as a table or as JSON")
	fs.Var((*span)(&f.watch), "watch", "look again each `INTERVAL`, 30s or longer, and show only what has changed, until ctrl-C; as a table or as JSON, a line for each run with changes")
	fs.StringSliceVar(&f.verify, "verify", nil, "check nothing but the signatures of the reports in `FILE,...`, and that they follow each other; of a folder, all in it")
	fs.Var((*once)(&f.key), "key", "verify with the public key in `FILE`, from --public-key of the node; without it, with that of the data directory")
	fs.BoolVar(&f.publicKey, "public-key", false, "print the public key by which the reports of this node are verified; check nothing")
	fs.Var((*once)(&f.from), "from", "`outside`: try the ports of --target HOST from this host, which is another one, and tell what answers; -o json is for --outside there")
	fs.UintSliceVar(&f.ports, "ports", nil, "with --from outside: these `PORT,...`, too, on TCP and UDP")
	fs.Lookup("ports").DefValue = "" // of which help says no default
	fs.Var((*once)(&f.outside), "outside", "take what was seen with --from outside -o json from another host: a `FILE`, at most a day old")
	fs.DurationVar(&f.within, "within", doctorWithin, "how long the run may take, at most 1m; what was not seen by then is unknown")
	return cmd
}

// doctorVerdict is the verdict as an exit code; it was printed already.
type doctorVerdict int

func (doctorVerdict) Error() string   { return "" }
func (doctorVerdict) Reported() bool  { return true }
func (v doctorVerdict) ExitCode() int { return int(v) }

// doctorError is a checker that could not do its work.
type doctorError struct{ error }

func (doctorError) ExitCode() int   { return harden.ExitError }
func (e doctorError) Unwrap() error { return e.error }

func doctor(cmd *cobra.Command, g *globals, f *doctorFlags) error {
	if err := together(cmd); err != nil {
		return &usageError{err}
	}
	if f.explain != "" {
		checks, err := harden.Select(harden.Checks, []string{f.explain})
		if err != nil {
			return &usageError{err}
		}
		for i, c := range checks { // a row can have parts
			text := c.Explain()
			if i > 0 {
				text = "\n" + text
			}
			if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case f.output == harden.FormatComponent:
		return harden.WriteComponentDefinition(cmd.OutOrStdout(), clock.System{}.Now(), version)
	case f.publicKey:
		return showKey(cmd, g)
	case len(f.verify) > 0:
		return f.verifyReports(cmd, g)
	case f.key != "":
		return &usageError{errors.New("--key is for --verify FILE, which is not given")}
	}
	checks, err := harden.Select(harden.Checks, f.only)
	if err != nil {
		return &usageError{fmt.Errorf("--only: %w", err)}
	}
	if !harden.Severity(f.failOn).AtLeast(harden.Low) {
		return &usageError{fmt.Errorf("--fail-on %q: it is critical, high, medium or low", f.failOn)}
	}
	if f.within <= 0 || f.within > doctorWithinMax {
		return &usageError{fmt.Errorf("--within %v: it is at most %v, and more than nothing", f.within, doctorWithinMax)}
	}
	if f.maxUnknown < 0 {
		return &usageError{fmt.Errorf("--max-unknown %d: it is a number of rows, 0 or more", f.maxUnknown)}
	}
	if f.denyGood && f.good == "" {
		return &usageError{errors.New("--deny-client-cert is about the certificate of --client-cert FILE, which is not given")}
	}
	switch {
	case f.from != "":
		return f.lookFromOutside(cmd)
	case len(f.ports) > 0:
		return &usageError{errors.New("--ports is for --from outside")}
	}
	for _, text := range f.targets {
		if _, err := config.ParseAdvertised(text); err != nil {
			return &usageError{fmt.Errorf("--target %s %w", text, err)}
		}
	}
	run, err := newDoctorRun(g, f, checks)
	if err != nil {
		return &usageError{err}
	}
	// How large the buffers of a socket for probes are is nobody's concern.
	if err := os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true"); err != nil {
		return doctorError{err}
	}
	if f.watch > 0 {
		return run.keepLooking(cmd)
	}
	return run.once(cmd)
}

// clientPair reads a certificate of a client with its key; "" is none.
func clientPair(file string, to **tls.Certificate) error {
	if file == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return fmt.Errorf("%s: certificate, chain and key of a client in PEM are wanted: %w", file, err)
	}
	*to = &pair
	return nil
}

// patient is the running broker as the doctor sees it, by its administration
// socket.
type patient struct{ client *admin.Client }

// Report implements harden.Broker.
func (p patient) Report(ctx context.Context) (harden.BrokerReport, error) {
	s, err := p.client.Status(ctx)
	if err != nil {
		return harden.BrokerReport{}, err
	}
	l, err := p.client.Limits(ctx)
	if err != nil {
		return harden.BrokerReport{}, err
	}
	pid, uid, err := p.client.Process(ctx)
	if err != nil {
		return harden.BrokerReport{}, err
	}
	all, err := p.client.Settings(ctx)
	if err != nil {
		return harden.BrokerReport{}, err
	}
	r, err := brokerReport(&s, &l, &all)
	r.PID, r.UID = pid, uid
	return r, err
}

// EndBan implements harden.Broker.
func (p patient) EndBan(ctx context.Context, clientID string) error {
	return p.client.DeleteBan(ctx, "clientid", clientID, admin.Filter{})
}

// AddProbe implements harden.Broker.
func (p patient) AddProbe(ctx context.Context, grant bool) (harden.ProbeUser, error) {
	return probeUser(p.client.AddProbe(ctx, grant))
}

// AddProbeBeside implements harden.Broker.
func (p patient) AddProbeBeside(ctx context.Context, name string) (harden.ProbeUser, error) {
	return probeUser(p.client.AddProbeBeside(ctx, name))
}

// EndGrant implements harden.Broker.
func (p patient) EndGrant(ctx context.Context, name string) error {
	return p.client.EndProbeGrant(ctx, name)
}

func probeUser(u admin.ProbeUser, err error) (harden.ProbeUser, error) {
	if err != nil {
		return harden.ProbeUser{}, err
	}
	if u.Password == nil {
		return harden.ProbeUser{}, errors.New("the broker made a probe user and did not say its secret")
	}
	return harden.ProbeUser{Name: u.UserID, Secret: u.Password.Value, Topic: u.Topic}, nil
}

// EndProbe implements harden.Broker.
func (p patient) EndProbe(ctx context.Context, name string) error {
	return p.client.EndProbe(ctx, name)
}

// DenyProbe implements harden.Broker.
func (p patient) DenyProbe(ctx context.Context, fingerprints []string) error {
	digits := make([]string, len(fingerprints))
	for i, f := range fingerprints {
		digits[i] = strings.TrimPrefix(f, "sha256:")
	}
	_, err := p.client.DenyForProbe(ctx, digits)
	return err
}

// Chains implements harden.Broker.
func (p patient) Chains(ctx context.Context) (all []harden.ChainTrial, err error) {
	list, err := p.client.Canaries(ctx)
	for _, c := range list {
		t := harden.ChainTrial{Listener: c.Listener, Authenticators: c.Authenticators}
		for i := range c.Cases {
			k := &c.Cases[i]
			t.Cases = append(t.Cases, harden.ChainCase{Down: k.Down, Knows: k.Knows, Forced: k.Forced, Reached: k.Reached, Asked: k.Asked, Result: k.Result, Answers: k.Answers})
		}
		all = append(all, t)
	}
	return all, err
}

// Access implements harden.Broker.
func (p patient) Access(ctx context.Context, q harden.AccessQuestion) (harden.AccessAnswer, error) {
	ask := admin.AccessQuery{Username: q.User, ClientID: q.ClientID, IPAddress: q.Address, Action: "subscribe", Topic: q.Topic}
	if q.Publish {
		ask.Action = "publish"
	}
	v, err := p.client.Check(ctx, ask)
	return harden.AccessAnswer{Allow: v.Rule.Allow, Rule: v.Rule.Text + " (" + v.Rule.Where + ")"}, err
}

// Rules implements harden.Broker.
func (p patient) Rules(ctx context.Context) (list []string, err error) {
	all, err := p.client.Rules(ctx)
	for _, r := range all.Data {
		list = append(list, r.Text+" ("+r.Where+")")
	}
	return list, err
}

// ClientUser implements harden.Broker.
func (p patient) ClientUser(ctx context.Context, clientID string) (string, error) {
	c, err := p.client.Session(ctx, admin.SessionRef{ClientID: clientID})
	return c.Username, err
}
