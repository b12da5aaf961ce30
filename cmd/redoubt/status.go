package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

// adminClient talks to the broker the configuration describes.
func adminClient(g *globals) (*admin.Client, error) {
	loaded, err := g.LookConfig()
	if err != nil {
		return nil, err
	}
	return admin.NewClient(loaded.Config.Admin.Socket), nil
}

func statusCmd(g *globals) *cobra.Command {
	var ready bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the running broker is",
		Long: "Shows what the broker listens on, how many clients it serves and where its files are.\n\n" +
			"With --ready it is a health check, which touches no port of clients: nothing is shown of a broker that\n" +
			"is ready, and one that is not ends with 1 and why.\n\n" + brokerHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminClient(g)
			if err != nil {
				return err
			}
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if ready {
				return notReadyError(&s)
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), s)
			}
			return printStatus(cmd, &s)
		},
	}
	cmd.Flags().BoolVar(&ready, "ready", false, "show nothing; end with 1 and the reason if the broker is not ready")
	return cmd
}

// notReadyError is why the broker is not ready; nil: it is.
func notReadyError(s *admin.StatusReport) error {
	if len(s.NotReady) == 0 {
		return nil
	}
	return errors.New("not ready: " + strings.Join(s.NotReady, "; "))
}

// alarmLine is an alarm in a line.
func alarmLine(a *admin.AlarmStatus) string {
	name := a.Name
	if a.Subject != "" {
		name += " (" + a.Subject + ")"
	}
	return fmt.Sprintf("%s since %s: %s", name, a.Since.UTC().Format("2006-01-02 15:04:05 UTC"), a.Why)
}

// backendLine is a back end in a line.
func backendLine(b *admin.BackendStatus) string {
	line := fmt.Sprintf("%s %s (%s): %d answers, %d failures, %d waiting", b.Name, strings.Join(b.Servers, ", "), b.Type, b.Answered, b.Failed, b.Waiting)
	if b.State == "open" {
		line += "; " + b.Why
	}
	return line
}

// printListeners has a line for each listener, with all of its addresses: its connections are
// counted together.
func printListeners(w io.Writer, list []admin.ListenerStatus) {
	for len(list) > 0 {
		l := list[0]
		var addresses []string
		for len(list) > 0 && list[0].Name == l.Name {
			addresses = append(addresses, list[0].Address)
			list = list[1:]
		}
		kind := l.Protocol
		switch l.ClientCert {
		case "required":
			kind += ", clients need a certificate"
		case "optional":
			kind += ", clients may show a certificate"
		}
		fmt.Fprintf(w, "listener\t%s %s (%s), %d connections\n", l.Name, strings.Join(addresses, ", "), kind, l.Connections)
	}
}

func printStatus(cmd *cobra.Command, s *admin.StatusReport) error {
	state := s.Status
	if len(s.NotReady) > 0 {
		state = "not ready: " + strings.Join(s.NotReady, "; ")
	}
	file := s.ConfigFile
	if file == "" {
		file = "none (built-in defaults)"
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "node\t%s (redoubt %s)\n", s.Name, s.Version)
	fmt.Fprintf(w, "status\t%s\n", state)
	for _, c := range s.Certificates {
		fmt.Fprintf(w, "certificate\t%s\n", plain(certificateWords(&c)))
	}
	for _, a := range s.Alarms {
		fmt.Fprintf(w, "alarm\t%s\n", plain(alarmLine(&a)))
	}
	if h := s.Hardening; h != nil {
		fmt.Fprintf(w, "hardening\t%s\n", plain(hardeningLine(h)))
	}
	fmt.Fprintf(w, "up\t%s, since %s\n", time.Duration(s.UptimeSeconds)*time.Second, s.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC"))
	printListeners(w, s.Listeners)
	for _, l := range s.Stopped {
		fmt.Fprintf(w, "listener\t%s is stopped since %s by %s, %d connections\n", l.Name, l.Since.UTC().Format("2006-01-02 15:04:05 UTC"), plain(l.By), l.Connections)
	}
	fmt.Fprintf(w, "connections\t%d\n", s.Connections)
	fmt.Fprintf(w, "traffic\t%s\n", trafficWords(&s.Traffic))
	for _, b := range s.Backends {
		fmt.Fprintf(w, "back end\t%s\n", plain(backendLine(&b)))
	}
	if b := s.Bans; b != nil {
		fmt.Fprintf(w, "bans\t%d by operators, %d from the file, %d for flapping\n", b.Operator, b.File, b.Flapping)
	}
	fmt.Fprintf(w, "sessions\t%d\n", s.Sessions)
	fmt.Fprintf(w, "subscriptions\t%d\n", s.Subscriptions)
	fmt.Fprintf(w, "retained messages\t%d, and %d of the broker's own under $SYS\n", s.Retained, s.RetainedOwn)
	printMemoryStatus(w, &s.Memory)
	printStoreStatus(w, &s.Store)
	fmt.Fprintf(w, "configuration\t%s\n", file)
	for _, line := range s.PendingRestart {
		fmt.Fprintf(w, "pending restart\t%s\n", plain(line))
	}
	for _, line := range s.NotInForce {
		fmt.Fprintf(w, "not in force\t%s\n", plain(line))
	}
	fmt.Fprintf(w, "data directory\t%s\n", s.DataDir)
	return w.Flush()
}
