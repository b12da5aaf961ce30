package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

func aclShowCmd(g *globals) *cobra.Command {
	var whose oneSession
	page, limit := 1, 0
	cmd := &cobra.Command{
		Use:   "show [CLIENT]",
		Short: "Show the rules in force, or those that are about one client, in the order they are judged",
		Long: "Shows the rules in force that are the same for all clients; the first that matches decides, and the last one denies everything. What\n" +
			"there is besides for single users and clients is said below them.\n\n" +
			"With the client identifier of a session, connected or not: the rules of all places of authz.order that are about this client, with\n" +
			"the placeholders filled in, and how old the rules of a back end are. What no rule about it allows is denied. At most --limit rules\n" +
			"are shown; how many more there are is said.\n\n" + brokerHelp,
		Example: "  redoubt acl show\n  redoubt acl show pump-7",
	}
	whose.register(cmd)
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.Flags().IntVar(&page, "page", 1, "page of the rules of a client, each of --limit")
	cmd.Flags().IntVar(&limit, "limit", 1000, "rules of a client that are shown at most, 1 to 1000")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && cmd.Flags().NFlag() > 0 && (cmd.Flags().Changed("identity") || cmd.Flags().Changed("mountpoint") || cmd.Flags().Changed("page") || cmd.Flags().Changed("limit")):
			return &usageError{errors.New("whose rules? Name the client identifier of a session")}
		case limit < 1 || limit > 1000:
			return &usageError{fmt.Errorf("--limit %d: it is 1 to 1000", limit)}
		case page < 1:
			return &usageError{fmt.Errorf("--page %d: the first is 1", page)}
		}
		return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
			if len(args) == 0 {
				return showRules(cmd, g, ctx, c)
			}
			e, err := c.EffectiveRules(ctx, whose.ref(cmd, args[0]), page, limit)
			if err != nil {
				return err
			}
			return printEffective(cmd.OutOrStdout(), g, &e)
		})
	}
	return cmd
}

func showRules(cmd *cobra.Command, g *globals, ctx context.Context, c *admin.Client) error {
	list, err := c.Rules(ctx)
	if err != nil {
		return err
	}
	if g.Output == "json" {
		return writeConfigJSON(cmd.OutOrStdout(), list)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "WHERE\tID\tRULE")
	for _, r := range list.Data {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Where, r.ID, r.Text)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = io.WriteString(cmd.OutOrStdout(), besides(&list))
	return err
}

// besides is what a list of the rules for all leaves out.
func besides(list *admin.RuleList) string {
	var parts []string
	if list.Own > 0 {
		parts = append(parts, fmt.Sprintf("%d built-in rules for single users and clients (redoubt acl list)", list.Own))
	}
	if len(list.Sources) > 0 {
		parts = append(parts, "for each client: "+plain(strings.Join(list.Sources, ", "))+" (redoubt acl show CLIENT)")
	}
	if len(parts) == 0 {
		return ""
	}
	return "and " + strings.Join(parts, "; ") + "\n"
}

// printEffective is the rules of a client as a person reads them. Clients choose some of it.
func printEffective(out io.Writer, g *globals, e *admin.EffectiveRules) error {
	if g.Output == "json" {
		return writeConfigJSON(out, e)
	}
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", name, plain(fmt.Sprintf(format, args...)))
	}
	c := &e.Client
	state := "away"
	if c.Connected {
		state = "connected"
	}
	line("client", "%s of %s (%s, by authenticator %s), address %s, listener %s", c.ClientID, orNone(c.Username), state, c.Method, orNone(c.IPAddress), c.Listener)
	if e.Superuser {
		line("superuser", "yes: it may do everything but what starts with $")
	}
	if e.Unproven {
		line("note", "it has not been here since the broker started; what its authentication brings is known when it comes back")
	}
	for i := range e.Sources {
		s := &e.Sources[i]
		text := fmt.Sprintf("%s: %d about this client", s.Name, s.Rules)
		if s.Age != nil {
			text += fmt.Sprintf(", read %v ago", time.Duration(*s.Age)*time.Second)
		}
		line("source", "%s", text)
	}
	b.WriteString("\n")
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	rows := newRows(out, false, "NO", "SOURCE", "WHERE", "RULE")
	for i := range e.Data {
		r := &e.Data[i]
		if err := rows.add(nil, fmt.Sprint(r.No), r.Source, r.Where, standingText(r)); err != nil {
			return err
		}
	}
	if err := rows.end(true); err != nil {
		return err
	}
	if e.Meta.HasNext {
		_, err := fmt.Fprintf(out, "page %d of %d rules about this client; more with --page %d\n", e.Meta.Page, e.Meta.Count, e.Meta.Page+1)
		return err
	}
	return nil
}

// standingText is a rule on one line, with the filters as they stand for the client.
func standingText(r *admin.StandingRule) string {
	verb := "deny"
	if r.Allow {
		verb = "allow"
	}
	text := fmt.Sprintf("%s %s %s", verb, r.Action, strings.Join(r.Topics, " "))
	if len(r.QoS) > 0 {
		text += " qos " + strings.Trim(fmt.Sprint(r.QoS), "[]")
	}
	if r.Retain != nil {
		text += fmt.Sprintf(" retain %t", *r.Retain)
	}
	if r.When != "" {
		text += " when " + r.When
	}
	switch r.Effect {
	case "never_matches":
		text += "  (never matches: "
	case "denies_everything":
		text += "  (denies everything: "
	case "not_sure":
		text += "  (not sure: "
	default:
		if r.Because == "" {
			return text
		}
		text += "  ("
	}
	return text + r.Because + ")"
}
