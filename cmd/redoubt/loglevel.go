package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
)

func logCmd(g *globals) *cobra.Command {
	get := &cobra.Command{
		Use:   "get",
		Short: "Show the level",
		Long:  "Shows how much the running broker writes to its log, and where that was said.\n\n" + brokerHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return logLevel(cmd, g, (*admin.Client).LogLevel)
		},
	}
	set := &cobra.Command{
		Use:   "set debug|info|warn|error",
		Short: "Change the level of the running broker",
		Long: "Changes how much the running broker writes to its log, until it ends. If log.level stands in the configuration file,\n" +
			"the environment or a flag, that place owns it and the change is refused. For a level that outlives the broker:\n" +
			"redoubt config set log.level.\n\n" + brokerHelp,
		Example:   "  redoubt log level set debug",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"debug", "info", "warn", "error"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return logLevel(cmd, g, func(c *admin.Client, ctx context.Context) (admin.LogLevelReport, error) {
				return c.SetLogLevel(ctx, args[0])
			})
		},
	}
	level := &cobra.Command{
		Use:   "level",
		Short: "Show or change how much is written",
		Long:  "Shows the level, as get does; set changes it.\n\n" + brokerHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q: redoubt log level shows the level; to change it, write redoubt log level set debug, info, warn or error", args[0])
			}
			return nil
		},
		RunE: get.RunE,
	}
	level.AddCommand(get, set)
	return group("log", "The broker's log", "How much the broker writes to its log.\n\n"+brokerHelp, level)
}

func logLevel(cmd *cobra.Command, g *globals, ask func(*admin.Client, context.Context) (admin.LogLevelReport, error)) error {
	return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
		r, err := ask(c, ctx)
		if err != nil {
			return err
		}
		if g.Output == "json" {
			return writeConfigJSON(cmd.OutOrStdout(), r)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s (%s)\n", r.Level, r.Origin)
		return err
	})
}

const logLevelKey = "log.level"

// configureLevel puts into force what the configuration says of the log; its level unless it
// leaves it to the API and that said one.
func (n *node) configureLevel(l *config.Loaded) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.levelChosen = n.levelChosen && !l.Origin(logLevelKey).Pinned(); !n.levelChosen {
		setLevel(n.level, l.Config)
	}
	n.audit.ShowLogins(l.Config.Audit.DataPlane == config.AuditAll)
}

// LogLevel implements admin.LogLevel.
func (n *node) LogLevel() admin.LogLevelReport {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.logLevel()
}

func (n *node) logLevel() admin.LogLevelReport {
	origin := n.loaded.Load().Origin(logLevelKey)
	r := admin.LogLevelReport{Level: strings.ToLower(n.level.Level().String()), Pinned: origin.Pinned(), Origin: origin.String()}
	if n.levelChosen {
		r.Origin = "api"
	}
	return r
}

// SetLogLevel implements admin.LogLevel.
func (n *node) SetLogLevel(level string, before func(from admin.LogLevelReport)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := n.logLevel()
	if from.Pinned {
		return &admin.PinnedError{Key: logLevelKey, Origin: from.Origin}
	}
	before(from)
	n.levelChosen = true
	return n.level.UnmarshalText([]byte(level))
}
