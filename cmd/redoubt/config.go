package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/config"
)

// configCmd is everything about the configuration file that needs no running
// broker: it reads what serve would read and starts nothing.
func configCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show and explain the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configCheckCmd(g), configShowCmd(g), configExplainCmd(g), configSchemaCmd())
	return cmd
}

func configCheckCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say whether the broker would start with this configuration",
		Long: "Reads the file, the environment and the secrets they refer to, and lists every problem with its place.\n" +
			"Run it with a new version before restarting into it. Exit status 0: valid, 1: refused.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				g.ConfigFile = args[0]
			}
			out := cmd.OutOrStdout()
			loaded, err := g.LoadConfig()
			if err != nil {
				return checkFailed(out, g.Output, err)
			}
			counts := map[config.OriginKind]int{}
			for _, s := range loaded.Settings() {
				counts[loaded.Origin(s.Key).Kind]++
			}
			if g.Output == "json" {
				return writeConfigJSON(out, map[string]any{"ok": true, "file": loaded.File, "from_file": counts[config.FromFile],
					"from_environment": counts[config.FromEnv], "from_flags": counts[config.FromFlag], "defaults": counts[config.FromDefault]})
			}
			file := loaded.File
			if file == "" {
				file = "no file"
			}
			_, err = fmt.Fprintf(out, "valid: %s. %d settings from the file, %d from the environment, %d from flags, %d defaults.\n", file,
				counts[config.FromFile], counts[config.FromEnv], counts[config.FromFlag], counts[config.FromDefault])
			return err
		},
	}
}

// checkFailed lists the problems where the answer goes, and returns the error
// that makes the exit status.
func checkFailed(out io.Writer, output string, err error) error {
	var refused *config.Errors
	if output != "json" || !errors.As(err, &refused) {
		return err
	}
	if werr := writeConfigJSON(out, map[string]any{"ok": false, "problems": refused.Problems, "more": refused.More}); werr != nil {
		return werr
	}
	return errors.New("the configuration is refused")
}

func configShowCmd(g *globals) *cobra.Command {
	var origin bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the effective configuration",
		Long:  "Prints every effective setting as a file that means the same anywhere. Secrets are shown by reference.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := g.LoadConfig()
			if err != nil {
				return err
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"file": loaded.File, "settings": loaded.Settings()})
			}
			_, err = cmd.OutOrStdout().Write(loaded.YAML(origin))
			return err
		},
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "say where each value came from: default, file and line, variable or flag")
	return cmd
}

func configExplainCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "explain KEY",
		Short:   "Say what a key does, what it is now, where that came from and why",
		Example: "  redoubt config explain limits.packet_bytes\n  redoubt config explain listeners.mqtts",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := g.LoadConfig()
			if err != nil {
				return err
			}
			ex, err := loaded.Explain(args[0])
			if err != nil {
				return err
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), ex)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), ex.Text())
			return err
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var keys []string
			for _, row := range config.Rows() {
				keys = append(keys, row.Key)
			}
			return keys, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func configSchemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file",
		Long:  "Prints the JSON Schema (draft 2020-12), for editors and checks. It describes each key; config check also judges them together.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.JSONSchema())
			return err
		},
	}
}

// writeConfigJSON writes one indented document.
func writeConfigJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
