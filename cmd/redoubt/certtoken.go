package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/pki"
)

func certTokenCmd(g *globals) *cobra.Command {
	var life time.Duration
	cmd := &cobra.Command{
		Use:   "token NAME",
		Short: "Make a token with which one device enrols once",
		Long: "256 random bits, shown once and stored as a hash. Whoever shows it at the port of enroll.bind, as the device NAME, before\n" +
			"its time is up, gets one certificate for a key of his own; then it is used up. A token that somebody else has used is\n" +
			"noticed: the device is refused. docs/ops/enrolment.md has the rest.\n\n" + certHelp,
		Example: "  redoubt cert token thermometer-7\n  redoubt cert token thermometer-7 --ttl 24h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := builtin.CheckName(args[0]); err != nil {
				return err
			}
			d, c, err := g.devices()
			if err != nil {
				return err
			}
			t, token, err := d.NewToken(clock.System{}.Now(), args[0], life)
			if err != nil {
				return err
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"id": t.ID, "name": t.Name, "token": string(token.Reveal()), "expires_at": t.Expires})
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "Token %s for %q, until %s, shown once:\n%s\n", t.ID, t.Name, date(t.Expires), token.Reveal())
			if len(c.Enroll.Bind) == 0 {
				_, err = fmt.Fprint(w, "There is no port for it yet. In the configuration file (restart the broker afterwards):\n  enroll: {bind: [\":8443\"]}\n")
				return err
			}
			_, err = fmt.Fprintf(w, "On the device, with %s and the token in a file:\n  redoubt cert enroll --server https://HOST:%s --cafile ca.pem --name %s --token-file token\n",
				datadir.Quote(pki.CAFile(c.Node.DataDir)), enrolPort(c), datadir.Quote(t.Name))
			return err
		},
	}
	life = 15 * time.Minute
	cmd.Flags().Var((*span)(&life), "ttl", "how long it can be used, at most 7d")
	cmd.AddCommand(certTokenListCmd(g), certTokenDeleteCmd(g))
	return cmd
}

// enrolPort is the port devices enrol at.
func enrolPort(c *config.Config) string {
	for _, text := range c.Enroll.Bind {
		if b, err := config.ParseBind(text); err == nil && b.Port != 0 {
			return fmt.Sprint(b.Port)
		}
	}
	return "8443"
}

func certTokenListCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tokens",
		Long:  "Lists the tokens that wait for their device, and those that were used or have expired of late.\n\n" + certHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, _, err := g.devices()
			if err != nil {
				return err
			}
			all, err := d.Tokens()
			if err != nil {
				return err
			}
			now := clock.System{}.Now()
			out := newRows(cmd.OutOrStdout(), g.Output == "json", "ID", "NAME", "UNTIL", "STATE")
			for i := range all {
				t := &all[i]
				state := "open"
				switch {
				case !t.Used.IsZero():
					state = "used " + date(t.Used)
				case !t.Open(now):
					state = "expired"
				}
				row := map[string]any{"id": t.ID, "name": t.Name, "created_at": t.Created, "expires_at": t.Expires, "state": state}
				if err := out.add(row, t.ID, t.Name, date(t.Expires), state); err != nil {
					return err
				}
			}
			return out.end(true)
		},
	}
}

func certTokenDeleteCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "delete ID|NAME",
		Short: "Delete a token, or all of a device",
		Long:  "From then on nobody enrols with it. A certificate it has brought already is taken back by redoubt cert revoke.\n\n" + certHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, _, err := g.devices()
			if err != nil {
				return err
			}
			gone, err := d.DeleteTokens(args[0])
			if err != nil {
				return err
			}
			if g.Output == "json" {
				ids := make([]string, len(gone))
				for i := range gone {
					ids[i] = gone[i].ID
				}
				return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"deleted": ids})
			}
			for i := range gone {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "token %s of %s is deleted\n", gone[i].ID, plain(gone[i].Name)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
