package main

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

func aclRefreshCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "refresh [CLIENT]",
		Short: "Read the rules that back ends have for connected clients again",
		Long: "Has the rules of authz.lookup read again at once, for one client identifier or for all who are connected; by themselves they are\n" +
			"read every authz.lookup.<name>.refresh. What a client has subscribed to and may not any more has ended when this returns.\n" +
			"\n" + answerHelp("0 done, 1 some could not be read and those clients keep what they had, or failed, 2 usage"),
		Example: "  redoubt acl refresh\n  redoubt acl refresh pump-7",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := ""
			if len(args) == 1 {
				if client = args[0]; client == "" || !utf8.ValidString(client) {
					return &usageError{errors.New("the client identifier is empty or not UTF-8")}
				}
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				r, err := c.RefreshRules(ctx, client)
				if err != nil {
					return err
				}
				if err := printRefresh(cmd, g, &r); err != nil {
					return err
				}
				if r.Failed > 0 {
					return unread{}
				}
				return nil
			})
		},
	}
}

// unread is the exit code where rules could not be read; it was said already.
type unread struct{}

func (unread) Error() string  { return "some rules could not be read" }
func (unread) Reported() bool { return true }
func (unread) ExitCode() int  { return 1 }

func printRefresh(cmd *cobra.Command, g *globals, r *admin.RefreshReport) error {
	out := cmd.OutOrStdout()
	if g.Output == "json" {
		return writeConfigJSON(out, r)
	}
	text := fmt.Sprintf("%d read, %d changed, %d failed\n", r.Asked-r.Failed, r.Changed, r.Failed)
	switch {
	case r.Sources == 0:
		text = "authz.order names no source in a back end; there is nothing to read\n"
	case r.Failed > 0:
		text += "  " + plain(r.Why) + "\n"
	}
	_, err := fmt.Fprint(out, text)
	return err
}
