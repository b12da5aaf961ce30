package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

func aclDiffCmd(g *globals) *cobra.Command {
	limit, forget := 100, false
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Show what rules that are only tried would have decided otherwise",
		Long: "Shows what the rules of authz.report_only.rules_file, which decide nothing, would have decided otherwise than those in force, by\n" +
			"identity and kind of topic, with the rule in both. Topics are written as what they have in common: names of the client as placeholders,\n" +
			"numbers and identifiers as +. An identity has at most 16 kinds in the list, so that nobody takes the places of others; the rest is\n" +
			"counted. TIMES are judgements and not messages: what the broker remembers of a client is not judged again.\n" +
			"\n" + answerHelp("0 nothing differs, 1 something does or failed, 2 no rules are tried or usage"),
		Example: "  redoubt acl diff\n  redoubt acl diff --forget",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 1000 {
				return &usageError{fmt.Errorf("--limit %d: it is 1 to 1000", limit)}
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				if forget {
					return c.ForgetDifferences(ctx)
				}
				r, err := c.Differences(ctx, limit)
				if err != nil {
					return err
				}
				if err := printDifferences(cmd.OutOrStdout(), g, &r); err != nil {
					return err
				}
				switch {
				case r.File == "" || r.Why != "":
					return differs(2)
				case r.Deny+r.Allow > 0:
					return differs(1)
				}
				return nil
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "kinds of differences that are shown at most, 1 to 1000")
	cmd.Flags().BoolVar(&forget, "forget", false, "begin to count anew")
	return cmd
}

// differs is the verdict of acl diff as an exit code; it was printed already.
type differs int

func (differs) Error() string   { return "the rules differ" }
func (differs) Reported() bool  { return true }
func (d differs) ExitCode() int { return int(d) }

func printDifferences(out io.Writer, g *globals, r *admin.DifferenceReport) error {
	if g.Output == "json" {
		return writeConfigJSON(out, r)
	}
	switch {
	case r.File == "":
		_, err := fmt.Fprintln(out, "no rules are tried: set authz.report_only.rules_file, and redoubt reload")
		return err
	case r.Why != "":
		_, err := fmt.Fprintf(out, "%s is not tried: %s\n", plain(r.File), plain(r.Why))
		return err
	}
	fmt.Fprintf(out, "%s, tried since %s: %d would be denied, %d would be allowed\n", plain(r.File), when(&r.Since), r.Deny, r.Allow)
	if r.Failed > 0 {
		fmt.Fprintf(out, "%d could not be judged because of a bug, which had no effect\n", r.Failed)
	}
	if r.Kinds == 0 {
		return nil
	}
	rows := newRows(out, false, "WOULD", "IDENTITY", "CLIENT", "ACTION", "TOPIC", "TIMES", "LAST", "BY", "INSTEAD OF")
	for i := range r.Data {
		d := &r.Data[i]
		would := d.Would
		if would == "deny_partly" {
			would = "deny partly"
		}
		if err := rows.add(nil, would, d.Identity, d.ClientID, d.Action, d.Topic, fmt.Sprint(d.Times), when(&d.Last), d.Candidate.Place(), d.Rule.Place()); err != nil {
			return err
		}
	}
	if err := rows.end(true); err != nil {
		return err
	}
	if n := r.Kinds - len(r.Data); n > 0 {
		fmt.Fprintf(out, "and %d more kinds\n", n)
	}
	if r.Left > 0 {
		fmt.Fprintf(out, "%d more judgements differ and are only counted: their identity has 16 kinds already, or there are 1,024 identities\n", r.Left)
	}
	return nil
}
