package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/internal/memory"
)

// adminClient talks to the broker the configuration describes.
func adminClient(g *globals) (*admin.Client, error) {
	loaded, err := g.LoadConfig()
	if err != nil {
		return nil, err
	}
	return admin.NewClient(loaded.Config.Admin.Socket), nil
}

func statusCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say how the running broker is",
		Long:  "Shows what the broker listens on, how many clients it serves and where its files are.\n\n" + brokerHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminClient(g)
			if err != nil {
				return err
			}
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), s)
			}
			return printStatus(cmd, &s)
		},
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
	fmt.Fprintf(w, "up\t%s, since %s\n", time.Duration(s.UptimeSeconds)*time.Second, s.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC"))
	for _, l := range s.Listeners {
		fmt.Fprintf(w, "listener\t%s %s (%s), %d connections\n", l.Name, l.Address, l.Protocol, l.Connections)
	}
	fmt.Fprintf(w, "connections\t%d\n", s.Connections)
	fmt.Fprintf(w, "sessions\t%d\n", s.Sessions)
	fmt.Fprintf(w, "subscriptions\t%d\n", s.Subscriptions)
	fmt.Fprintf(w, "retained messages\t%d\n", s.Retained)
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

// printStoreStatus says how the log is and who holds its oldest record.
func printStoreStatus(w io.Writer, s *admin.StoreStatus) {
	if s.Failed != "" {
		fmt.Fprintf(w, "store\tFAILED: %s\n", s.Failed)
	}
	if s.Refuses != "" {
		fmt.Fprintf(w, "store\tREFUSES publishes that must be stored: %s\n", s.Refuses)
	}
	fmt.Fprintf(w, "store\t%s of %s in %d files, records %d to %d\n", memory.Text(s.Bytes+s.RescuedBytes), memory.Text(s.MaxBytes), s.Segments, s.First, s.Last)
	if s.Free > 0 {
		fmt.Fprintf(w, "store disk\t%s free\n", memory.Text(s.Free))
	}
	if x := &s.Writes; x.Commits > 0 {
		fmt.Fprintf(w, "store writes\t%d, %.1f records and %.1f ms each on average, %d took longer than 100 ms\n", x.Commits, float64(x.Records)/float64(x.Commits), float64(x.AverageMicros)/1000, x.SlowerThanAHundred)
	}
	x := &s.Index
	fmt.Fprintf(w, "store index\tabout: postings %s, sessions %s, retained %s, values %s, rescued %s\n", sizeText(x.Postings), sizeText(x.Sessions), sizeText(x.Retained), sizeText(x.Values), sizeText(x.Rescued))
	if s.Rescued > 0 {
		fmt.Fprintf(w, "rescued\t%d messages, %s, which the log had no more room for\n", s.Rescued, memory.Text(s.RescuedBytes))
	}
	if s.Behind > s.Away {
		fmt.Fprintf(w, "behind\t%d sessions with a client: %d messages, %s\n", s.Behind-s.Away, s.Lag.ConnectedMessages, memory.Text(s.Lag.ConnectedBytes))
	}
	if s.Away > 0 {
		fmt.Fprintf(w, "behind\t%d sessions that are away: %d messages, %s\n", s.Away, s.Lag.AwayMessages, memory.Text(s.Lag.AwayBytes))
	}
	if s.Groups > 0 {
		fmt.Fprintf(w, "behind\t%d shared subscriptions: %d messages, %s\n", s.Groups, s.Lag.SharedMessages, memory.Text(s.Lag.SharedBytes))
	}
	switch {
	case s.Oldest == 0:
	case s.Identity == "" && strings.HasPrefix(s.ClientID, "$share/"):
		fmt.Fprintf(w, "oldest wanted\trecord %d, by the shared subscription %s\n", s.Oldest, plain(s.ClientID))
	default:
		fmt.Fprintf(w, "oldest wanted\trecord %d, by client %s of %s\n", s.Oldest, plain(s.ClientID), plain(s.Identity))
	}
}
