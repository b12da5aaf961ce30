package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/topic"
)

func retainedCmd(g *globals) *cobra.Command {
	return group("retained", "List, show and clear retained messages",
		"Retained messages: the last value of each topic, for those who subscribe later.\n\n"+brokerHelp,
		retainedListCmd(g), retainedShowCmd(g), retainedClearCmd(g))
}

func retainedListCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "list [FILTER]",
		Short: "List the retained messages",
		Long: "Lists the retained messages, by topic, without their payloads: all of them, or those that a topic filter matches.\n" +
			strings.ReplaceAll(listHelp, ", in no order", ""),
		Example: "  redoubt retained list\n  redoubt retained list 'plant/+/temp'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f := admin.Filter{}
			if len(args) == 1 {
				if err := topic.ValidFilter(args[0]); err != nil {
					return &usageError{err}
				}
				f["topic"] = args[0]
			}
			return list(cmd, g, []string{"QOS", "BYTES", "PUBLISHED (UTC)", "EXPIRES (UTC)", "TOPIC"}, (*admin.Client).EachRetained, f, func(r *admin.RetainedInfo) []string {
				return []string{strconv.Itoa(r.QoS), strconv.Itoa(r.PayloadBytes), when(&r.PublishAt), when(r.ExpiresAt), r.Topic}
			})
		},
	}
}

func retainedShowCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "show TOPIC",
		Short: "Show one retained message",
		Long: "Shows the retained message of a topic with its payload, in which characters that could steer a terminal are shown as\n" +
			"codes. The bytes themselves: redoubt sub --retained-only, or -o json (base64).\n\n" + brokerHelp,
		Example: "  redoubt retained show plant/a/temp",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				m, err := c.RetainedMessage(ctx, args[0])
				if err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), m)
				}
				return printRetained(cmd, &m)
			})
		},
	}
}

func printRetained(cmd *cobra.Command, m *admin.RetainedMessage) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, plain(value))
		}
	}
	line("topic", m.Topic)
	line("qos", strconv.Itoa(m.QoS))
	line("published", when(&m.PublishAt)+" UTC")
	if m.ExpiresAt != nil {
		line("expires", when(m.ExpiresAt)+" UTC")
	}
	line("content type", m.ContentType)
	line("response topic", m.ResponseTopic)
	if len(m.CorrelationData) > 0 {
		line("correlation", fmt.Sprintf("%x", m.CorrelationData))
	}
	for _, u := range m.UserProperties {
		line("user property", u.Name+" = "+u.Value)
	}
	line("bytes", strconv.Itoa(m.PayloadBytes))
	switch {
	case m.PayloadBytes == 0:
	case utf8.Valid(m.Payload):
		line("payload", string(m.Payload))
	default:
		line("payload", fmt.Sprintf("%x (hexadecimal)", m.Payload[:min(len(m.Payload), 1024)]))
	}
	if m.PayloadCut {
		line("", "... cut: only the first part is shown")
	}
	return w.Flush()
}

func retainedClearCmd(g *globals) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "clear TOPIC|FILTER",
		Short: "Remove retained messages",
		Long: "Removes the retained message of a topic, or those that a filter with wildcards matches: then it asks first, or wants\n" +
			"--yes where there is nobody to ask. Subscribers are not told; later ones find nothing. Who did it is in the broker's log.\n" +
			"The filter # does not reach topics that begin with $.\n\n" + brokerHelp + "\nInterrupted: 130.",
		Example: "  redoubt retained clear plant/a/temp\n  redoubt retained clear 'plant/old/#' --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := topic.ValidFilter(args[0]); err != nil {
				return &usageError{err}
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				if !topic.HasWildcard(args[0]) {
					if err := c.DeleteRetained(ctx, args[0]); err != nil {
						return err
					}
					return cleared(cmd, g, 1, nil)
				}
				if err := confirm(cmd, yes, args[0]); err != nil {
					return err
				}
				n, err := c.ClearRetained(ctx, args[0])
				if ctx.Err() != nil {
					err = interrupted{fmt.Sprintf("at least %d messages are removed, and perhaps not all", n)}
				}
				return cleared(cmd, g, n, err)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm asks a person before many messages go.
func confirm(cmd *cobra.Command, yes bool, filter string) error {
	if yes {
		return nil
	}
	in, isFile := cmd.InOrStdin().(*os.File)
	if !isFile || !term.IsTerminal(int(in.Fd())) {
		return &usageError{errors.New("a filter with wildcards removes every retained message it matches; say --yes")}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Remove every retained message that %s matches? Write yes: ", plain(filter))
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing was removed")
	}
	return nil
}

// cleared says how many messages are gone, also when it was not to the end.
func cleared(cmd *cobra.Command, g *globals, n int, err error) error {
	if err != nil {
		return err
	}
	if g.Output == "json" {
		return writeConfigJSON(cmd.OutOrStdout(), map[string]int{"deleted": n})
	}
	messages := "messages"
	if n == 1 {
		messages = "message"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d retained %s removed\n", n, messages)
	return err
}
