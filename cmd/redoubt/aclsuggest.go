package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

func aclSuggestCmd(g *globals) *cobra.Command {
	var watch time.Duration
	var forget bool
	cmd := &cobra.Command{
		Use:   "suggest [--for DURATION]",
		Short: "Watch what clients do for a time, and print rules that would allow that and little more",
		Long: "With --for it watches what clients publish and subscribe to, and then prints a rules file; interrupted, it prints what was seen so far.\n" +
			"The names of a client become ${username} and ${clientid}, and a level of numbers or identifiers with more than four values becomes +.\n" +
			"What the rules in force refuse is not proposed, nor a subscription to everything. The comments say how often each was seen and what\n" +
			"was not looked at: clients that did not come in that time would be denied. Try the file first: authz.report_only.rules_file.\n" +
			"Without --for it prints what was seen the last time, or so far.\n\n" + brokerHelp,
		Example: "  redoubt acl suggest --for 24h >next.yaml\n  redoubt acl suggest",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("for") && (watch < time.Second || watch > 7*24*time.Hour) {
				return &usageError{fmt.Errorf("--for %v: it is 1s to 7d", watch)}
			}
			if forget && watch > 0 {
				return &usageError{errors.New("--for or --forget: give one of them")}
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				after := context.WithoutCancel(ctx) // an interrupt ends watching, and not what comes then
				if forget {
					return c.EndObservation(after, false)
				}
				if watch > 0 {
					if err := c.Observe(ctx, watch); err != nil {
						return err
					}
					fmt.Fprintf(cmd.ErrOrStderr(), "watching for %v; interrupt to end it now\n", watch)
					select {
					case <-ctx.Done():
					case <-time.After(watch):
					}
					if err := c.EndObservation(after, true); err != nil {
						return err
					}
				}
				s, err := c.Observed(after)
				if err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), s)
				}
				_, err = io.WriteString(cmd.OutOrStdout(), s.File)
				return err
			})
		},
	}
	cmd.Flags().Var((*span)(&watch), "for", "how long to watch, 1s to 7d")
	cmd.Flags().BoolVar(&forget, "forget", false, "end watching, and forget what was seen")
	return cmd
}
