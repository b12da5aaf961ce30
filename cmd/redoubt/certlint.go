package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/pki"
)

func certLintCmd(g *globals) *cobra.Command {
	var key, usage string
	cmd := &cobra.Command{
		Use:   "lint FILE",
		Short: "Say what the broker would refuse in a certificate, and why",
		Long: "Judges a certificate with its chain as the broker does when it reads it or a client shows it, one finding a line:\n" +
			"ok, warning, or refused with what to do about it. Exit codes: 0 it would be taken, 1 refused, 2 usage.\n" +
			"What was issued by the CA of devices of the data directory is also looked up in its revocation list.",
		Example: "  redoubt cert lint broker.pem --key broker.key\n  redoubt cert lint thermometer-7.pem --for client",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l := pki.Lint{File: args[0], KeyFile: key, For: pki.Usage(usage), Soon: time.Duration(expiryDays[0]) * 24 * time.Hour, Now: clock.System{}.Now(), Roots: pki.SystemRoots()}
			if l.For != pki.ForEither && l.For != pki.ForServer && l.For != pki.ForClient {
				return &usageError{fmt.Errorf("--for %q: it is server or client", usage)}
			}
			if loaded, err := g.LookConfig(); err == nil { // a certificate can be judged without one
				l.DataDir = loaded.Config.Node.DataDir
			} else if g.ConfigFile != "" || g.DataDir != "" {
				return err
			}
			found := l.Run()
			if g.Output == "json" {
				if err := writeConfigJSON(cmd.OutOrStdout(), map[string]any{"data": found}); err != nil {
					return err
				}
			} else {
				for _, f := range found {
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-8s %s\n", f.Verdict, plain(f.Text)); err != nil {
						return err
					}
				}
			}
			if l.Refused() {
				return doctorVerdict(1)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the private key in `FILE` is judged, too")
	cmd.Flags().StringVar(&usage, "for", "", "judge it as that of a `USE`: server or client (default: by its extended key usage)")
	return cmd
}
