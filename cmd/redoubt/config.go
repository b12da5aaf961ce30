package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
)

// configCmd is everything about the configuration: of the file, which needs no running
// broker, and of the broker that runs.
func configCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show, explain and change the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configCheckCmd(g), configShowCmd(g), configExplainCmd(g), configGetCmd(g), configSetCmd(g), configUnsetCmd(g),
		configDiffCmd(g), configSchemaCmd())
	return cmd
}

func configCheckCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say whether the broker would start with this configuration",
		Long: "Reads the file, the environment and the secrets they refer to, and lists every problem with its place; then the\n" +
			"certificates, CAs and revocation lists that listeners and enroll.claims name, bans.file, and the rules of authz with\n" +
			"their tests, as the broker's user or root. What follows from a problem is not listed: more may come when it is mended.\n" +
			"Run it with a new version before restarting into it. What was set at run time is not looked at: a start leaves out what\n" +
			"does not fit. Exit status 0: valid, 1: refused.",
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
			if err := checkFiles(loaded); err != nil {
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

// offlineFlag is for commands that show the running broker's configuration if there is one.
func offlineFlag(cmd *cobra.Command, alone *bool) {
	cmd.Flags().BoolVar(alone, "offline", false, "ask no broker: what this command reads in the file, the environment and its flags")
}

// whose is what commands say that show the configuration of the running broker.
const whose = "It is that of the running broker, with what was set at run time. Where none answers on admin.socket, or with --offline, it is\n" +
	"what this command reads in the file, the environment and its flags."

// showSettings hands over the configuration in force, and says on standard error when it
// is not that of a broker although one was looked for.
func showSettings(cmd *cobra.Command, g *globals, alone bool, show func(*config.Loaded, *admin.SettingsReport) error) error {
	loaded, err := g.LookConfig()
	if err != nil {
		return err
	}
	r, running, err := inForce(cmd.Context(), loaded, alone)
	if err != nil {
		return err
	}
	if err := show(loaded, &r); err != nil || running || alone {
		return err
	}
	_, err = fmt.Fprintln(cmd.ErrOrStderr(), "no broker answers: what is set at run time is not shown")
	return err
}

func configShowCmd(g *globals) *cobra.Command {
	var origin, alone bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the effective configuration",
		Long:  "Prints every effective setting as a file that means the same anywhere. Secrets are shown by reference.\n" + whose,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showSettings(cmd, g, alone, func(_ *config.Loaded, r *admin.SettingsReport) error {
				out := cmd.OutOrStdout()
				if g.Output == "json" {
					return writeConfigJSON(out, map[string]any{"file": r.File, "settings": r.Data, "not_in_force": r.NotInForce})
				}
				text := config.YAML(settingsOf(r), origin)
				if origin {
					text = append(text, unsettledText(r, "# ")...)
				}
				_, err := out.Write(text)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "say where each value came from: default, set at run time, file and line, variable or flag")
	offlineFlag(cmd, &alone)
	return cmd
}

func configDiffCmd(g *globals) *cobra.Command {
	var alone bool
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Show what differs from the defaults",
		Long:  "Shows each key that somebody set to another value than its default, and where.\n" + whose,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showSettings(cmd, g, alone, func(_ *config.Loaded, r *admin.SettingsReport) error {
				different := differences(r)
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"data": different})
				}
				for _, d := range different {
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s -> %s (%s)\n", d.Key, plain(d.Default), plain(d.Value), plain(d.Origin)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	offlineFlag(cmd, &alone)
	return cmd
}

// difference is a key that somebody wrote and that does not have its default.
type difference struct {
	Key     string `json:"key"`
	Default string `json:"default"` // as the file has it; "" if there is no such key by default
	Value   string `json:"value"`
	Origin  string `json:"origin"`
}

func differences(r *admin.SettingsReport) []difference {
	out := []difference{}
	defaults := config.Defaults()
	for _, s := range r.Data {
		if text := defaults[s.Key]; text != s.Text && s.Origin != (config.Origin{}).String() {
			out = append(out, difference{s.Key, text, s.Text, s.Origin})
		}
	}
	return out
}

func configExplainCmd(g *globals) *cobra.Command {
	var alone bool
	cmd := &cobra.Command{
		Use:               "explain KEY",
		Short:             "Say what a key does, what it is now, where that came from and why",
		Long:              "Says what a key does and may be, why its default is what it is, and its value.\n" + whose,
		Example:           "  redoubt config explain limits.packet_bytes\n  redoubt config explain listeners.mqtts",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: keyCompletion,
		RunE: func(cmd *cobra.Command, args []string) error {
			return showSettings(cmd, g, alone, func(l *config.Loaded, r *admin.SettingsReport) error {
				ex, err := l.ExplainWith(args[0], settingsOf(r))
				if err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), ex)
				}
				_, err = io.WriteString(cmd.OutOrStdout(), ex.Text())
				return err
			})
		},
	}
	offlineFlag(cmd, &alone)
	return cmd
}

// keyCompletion completes a key as the first argument.
func keyCompletion(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var keys []string
	if len(args) == 0 {
		for _, row := range config.Rows() {
			keys = append(keys, row.Key)
		}
	}
	return keys, cobra.ShellCompDirectiveNoFileComp
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
