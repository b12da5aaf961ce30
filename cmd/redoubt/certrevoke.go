package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/pki"
)

func certListCmd(g *globals) *cobra.Command {
	var servers bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the certificates of devices",
		Long:  "Lists what was issued, oldest first, what was revoked and what has expired, too.\n\n" + certHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := g.issued(servers)
			if err != nil {
				return err
			}
			now := clock.System{}.Now()
			out := newRows(cmd.OutOrStdout(), g.Output == "json", "SERIAL", "NAME", "VALID UNTIL", "STATE")
			for i := range all {
				c := &all[i]
				state, until := "valid", date(c.NotAfter)
				switch {
				case c.Revoked():
					state = fmt.Sprintf("revoked %s (%s)", date(c.RevokedAt), c.Reason)
				case !c.Valid(now):
					state = "expired"
				}
				if c.NotAfter.IsZero() {
					until = ""
				}
				if err := out.add(c, c.Serial, c.Name, until, state); err != nil {
					return err
				}
			}
			return out.end(true)
		},
	}
	cmd.Flags().BoolVar(&servers, "servers", false, "those of servers (cert issue server) in place of those of devices")
	return cmd
}

// issued is everything that was issued to devices, or to servers.
func (g *globals) issued(servers bool) ([]pki.DeviceCert, error) {
	if servers {
		s, _, err := g.servers()
		if err != nil {
			return nil, err
		}
		return s.List()
	}
	d, _, err := g.devices()
	if err != nil {
		return nil, err
	}
	return d.List()
}

func certRevokeCmd(g *globals) *cobra.Command {
	var all bool
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke NAME|SERIAL",
		Short: "Take a device's certificate back",
		Long: "Revokes the certificate of a device and writes the list that says so. A running broker whose listener names that\n" +
			"list closes the device within seconds and does not let it in again. There is no way back: the device gets a\n" +
			"new certificate.\n\n" + certHelp,
		Example: "  redoubt cert revoke thermometer-7 --reason keyCompromise",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			why, err := pki.ParseReason(reason)
			if err != nil {
				return &usageError{fmt.Errorf("--reason: %w", err)}
			}
			d, c, err := g.devices()
			if err != nil {
				return err
			}
			gone, list, err := d.Revoke(clock.System{}.Now(), args[0], all, why)
			if err != nil {
				return err
			}
			if g.Output == "json" {
				err = writeConfigJSON(cmd.OutOrStdout(), map[string]any{"revoked": gone, "crl": list})
			} else {
				for i := range gone {
					fmt.Fprintf(cmd.OutOrStdout(), "certificate %s of %s is revoked (%s)\n", gone[i].Serial, plain(gone[i].Name), gone[i].Reason)
				}
				err = printList(cmd.OutOrStdout(), list)
			}
			warnUnread(cmd.ErrOrStderr(), c)
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all certificates of the name, if it has several")
	cmd.Flags().StringVar(&reason, "reason", "unspecified", "the `REASON` the list says: "+pki.Reasons())
	return cmd
}

func certCRLCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "crl",
		Short: "Write a fresh revocation list",
		Long: "Writes the list of what is revoked anew and says where it is. It counts for seven days; the running broker writes\n" +
			"the next one after half of that, so that this is for lists that are used elsewhere.\n\n" + certHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, _, err := g.devices()
			if err != nil {
				return err
			}
			list, err := d.WriteList(clock.System{}.Now())
			if err != nil {
				return err
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), list)
			}
			return printList(cmd.OutOrStdout(), list)
		},
	}
}

func printList(w io.Writer, list pki.ListInfo) error {
	_, err := fmt.Fprintf(w, "list %d is in %s: %d revoked; the next one is due by %s\n", list.Number, list.Path, list.Revoked, date(list.NextUpdate))
	return err
}

// warnUnread tells who has revoked something that it has no effect here.
func warnUnread(w io.Writer, c *config.Config) {
	for _, name := range deviceListeners(c) {
		if !hasFile(c.Listeners[name].TLS.CRL.Files, pki.DevicesList(c.Node.DataDir)) {
			fmt.Fprintf(w, "The listener %s does not look at this list and goes on letting in what is revoked: name it in listeners.%s.tls.crl.files.\n", name, name)
		}
	}
}
