package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/datadir"
)

func initCmd(g *globals) *cobra.Command {
	var folder bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the data directory: server CA, certificate, rules; start nothing",
		Long: "Makes the data directory: server CA, certificate, rules. It starts nothing.\n\n" +
			"With --folder it makes the folder alone, with mode 0700, and not what is in it: in a volume\n" +
			"whose root others may change, for a broker that is given this folder and not the volume.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := g.LoadConfig()
			if err != nil {
				return err
			}
			if folder {
				return makeFolder(cmd, g, loaded.Config.Node.DataDir)
			}
			n, err := prepare(loaded, clock.System{}, slog.New(slog.DiscardHandler), &slog.LevelVar{})
			if err != nil {
				return err
			}
			defer n.release()
			done := "was there already and is complete"
			if n.made {
				done = "is ready"
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"data_dir": loaded.Config.Node.DataDir, "ca": n.pki.CAPath(), "rules": loaded.Config.Authz.RulesFile, "created": n.made})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s.\n  CA     %s\n  rules  %s\nNext: %s user add device1\n",
				loaded.Config.Node.DataDir, done, n.pki.CAPath(), loaded.Config.Authz.RulesFile, self(g))
			return err
		},
	}
	cmd.Flags().BoolVar(&folder, "folder", false, "make the folder alone, and nothing in it")
	return cmd
}

// makeFolder is redoubt init --folder. It judges the folder and not those above it: that is
// for the broker, which may see it at another path.
func makeFolder(cmd *cobra.Command, g *globals, dir string) error {
	if err := datadir.Init(dir); err != nil {
		return err
	}
	if g.Output == "json" {
		return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"data_dir": dir})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is there, with mode 0700.\n", dir)
	return err
}
