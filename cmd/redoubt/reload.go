package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func reloadCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Let the running broker read its configuration, rules and certificates again",
		Long: "Everything is read and judged first; if anything is refused, nothing has changed.\n" +
			"Connections stay open, but for those of a listener that is gone and those that new access rules or bans refuse. What was set at run time stays, but for keys that the file has now.\n\n" + brokerHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminClient(g)
			if err != nil {
				return err
			}
			r, err := client.Reload(cmd.Context())
			if err != nil {
				return err
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), r)
			}
			if len(r.Changed) == 0 {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "reloaded; nothing is different")
				return err
			}
			for _, line := range r.Changed {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
