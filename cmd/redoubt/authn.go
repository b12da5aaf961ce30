package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

func authnCmd(g *globals) *cobra.Command {
	return group("authn", "Try whether a client would be let in", "Authentication: who may connect. docs/ops/denials.md says more.\n\n"+brokerHelp, authnTestCmd(g))
}

// loginFlags are the command line of a trial.
type loginFlags struct {
	listener, username, passwordFile, client, peer, certificate string
	protocol                                                    int
}

func authnTestCmd(g *globals) *cobra.Command {
	var l loginFlags
	cmd := &cobra.Command{
		Use:   "test --listener NAME [--username NAME] [--password-file FILE|-]",
		Short: "Try a login in the running broker, and show what each authenticator says",
		Long: "Asks the authenticators of a listener about a client, as if it connected now: its chain in order, with conditions, back ends, caches and\n" +
			"queues as they are, and then the sources of rules that are read at CONNECT. Nobody is let in. For the client it is no failed login:\n" +
			"nothing is counted against it, and it is not banned for it. A login that is right may make a hash that was imported anew, as any does.\n" +
			"The password is never taken from the command line, and is in no log and no output; --password-file - reads it from standard input,\n" +
			"or asks a person for it. A certificate is judged as the listener judges it, but for the proof that the client has its key.\n" +
			"An administrator has one trial at a time, and each is in the log with who made it.\n" +
			"Not judged is what depends on who is connected at that moment: limits.same_client, limits.connections_per_identity,\n" +
			"limits.connections_attribute, and the limits of the listener. redoubt why CLIENT tells what those have refused.\n\n" +
			answerHelp("0 it would be let in, 1 it would not, or failed, 2 usage"),
		Example: "  redoubt authn test --listener mqtts --username pump-1 --password-file -\n" +
			"  redoubt authn test --listener devices --certificate pump-1.crt --client-id pump-1 --peer 192.0.2.17",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, password, err := l.query(cmd)
			if err != nil {
				return err
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				r, err := c.TestLogin(ctx, q, password)
				if err != nil {
					return err
				}
				if g.Output == "json" {
					err = writeConfigJSON(cmd.OutOrStdout(), r)
				} else {
					err = printLogin(cmd.OutOrStdout(), &r)
				}
				if err == nil && r.Result != "allow" {
					err = denied{}
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&l.listener, "listener", "", "listener `NAME` whose authenticators are asked (required)")
	f.StringVar(&l.username, "username", "", "user `NAME`; left out, none is sent")
	f.StringVar(&l.passwordFile, "password-file", "", "`FILE` whose first line is the password, - for standard input; left out, none is sent")
	f.StringVar(&l.client, "client-id", "", "client identifier")
	f.StringVar(&l.peer, "peer", "", "`ADDRESS` the client would come from, 127.0.0.1 if left out")
	f.StringVar(&l.certificate, "certificate", "", "`FILE` with the certificate of the client, PEM, and those between it and its CA")
	f.IntVar(&l.protocol, "protocol", 5, "protocol level: 3, 4 (MQTT 3.1.1) or 5")
	return cmd
}

// query reads what the flags name.
func (l *loginFlags) query(cmd *cobra.Command) (*admin.LoginQuery, *secret.Value, error) {
	switch {
	case l.listener == "":
		return nil, nil, &usageError{errors.New("--listener is missing: which chain is asked depends on it; redoubt listeners list shows them")}
	case l.protocol < 3 || l.protocol > 5:
		return nil, nil, &usageError{fmt.Errorf("--protocol %d: it is 3, 4 or 5", l.protocol)}
	case l.peer != "" && !isAddress(l.peer):
		return nil, nil, &usageError{fmt.Errorf("--peer %q: it is an address such as 192.0.2.1 or 2001:db8::1", l.peer)}
	case !utf8.ValidString(l.username) || !utf8.ValidString(l.client): // JSON would say something else
		return nil, nil, &usageError{errors.New("--username or --client-id is not UTF-8")}
	}
	q := &admin.LoginQuery{Listener: l.listener, ClientID: l.client, IPAddress: l.peer, Version: l.protocol}
	if cmd.Flags().Changed("username") {
		q.Username = &l.username
	}
	if l.certificate != "" {
		b, err := readSmall(l.certificate, 64<<10)
		if err != nil {
			return nil, nil, err
		}
		if strings.Contains(string(b), "PRIVATE KEY") {
			return nil, nil, &usageError{fmt.Errorf("%s holds a private key, which nobody needs to see here; give the certificate alone", l.certificate)}
		}
		q.Certificate = string(b)
	}
	if l.passwordFile == "" {
		return q, nil, nil
	}
	in := cmd.InOrStdin()
	if l.passwordFile != "-" {
		f, err := os.Open(l.passwordFile)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		in = f
	}
	p, err := readPassword(in, cmd.ErrOrStderr())
	if errors.Is(err, errNoPassword) {
		err = errors.New("--password-file holds no password; leave it out to send none")
	}
	return q, &p, err
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// readSmall reads a file of at most most bytes.
func readSmall(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return b, err
}

// printLogin is a trial as a person reads it.
func printLogin(out io.Writer, r *admin.LoginReport) error {
	var b strings.Builder
	b.WriteString(r.Result)
	if r.Reason != 0 {
		fmt.Fprintf(&b, ": 0x%02X %s", r.Reason, mqtt.ReasonCode(r.Reason)) //nolint:gosec // a byte
	}
	fmt.Fprintf(&b, ", after %v\n", micros(r.Micros))
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-9s %s\n", name, plain(fmt.Sprintf(format, args...)))
	}
	if r.Detail != "" {
		line("why", "%s", r.Detail)
	}
	if r.Identity != "" {
		text := fmt.Sprintf("%s, by authenticator %s", r.Identity, r.Method)
		if r.Superuser {
			text += ", a superuser"
		}
		if r.Until != nil {
			text += ", until " + when(r.Until)
		}
		line("client", "%s", text)
	}
	for _, name := range sortedKeys(r.Attributes) {
		line("attribute", "%s = %s", name, r.Attributes[name])
	}
	b.WriteString("\n")
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	rows := newRows(out, false, "ASKED", "SAID", "TOOK", "CACHE", "WHY")
	for i := range r.Steps {
		s := &r.Steps[i]
		took, cached := "", ""
		switch s.State {
		case "not_asked", "skipped":
		default:
			took, cached = micros(s.Micros).String(), map[bool]string{true: "hit", false: "no"}[s.Cached]
		}
		why := s.Detail
		if s.State == "rules" {
			why = fmt.Sprintf("%d rules for this client", s.Rules)
		}
		if err := rows.add(nil, s.Name, strings.ReplaceAll(s.State, "_", " "), took, cached, why); err != nil {
			return err
		}
	}
	return rows.end(true)
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
