package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

const listenerNames = "NAME is the name in the configuration, or the id TYPE:NAME. "

func listenersCmd(g *globals) *cobra.Command {
	return group("listeners", "List, stop and start listeners",
		"Listeners: where clients come in. One that is stopped stays so until it is started, or the broker is; a reload changes nothing\n"+
			"about that. What they are is in the configuration. docs/ops/listeners.md says more.\n\n"+brokerHelp,
		listenersListCmd(g), listenersStopCmd(g), listenersStartCmd(g), listenersRestartCmd(g))
}

func listenersListCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the listeners",
		Long: "Lists the listeners: where they listen, whether they do, how many connections there are and may be (- is no limit of its own),\n" +
			"how many of those have not authenticated yet, how many came too fast and were refused, and how many the kernel lets wait for\n" +
			"accept, as it says of the socket. More of each is in -o json. {\"data\": [...]}, an object a line.\n\n" + brokerHelp,
		Example: "  redoubt listeners list\n  redoubt listeners list -o json | jq '.data[] | select(.state != \"running\")'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				all, err := c.Listeners(ctx)
				if err != nil {
					return err
				}
				out := newRows(cmd.OutOrStdout(), g.Output == "json", "NAME", "TYPE", "BIND", "ADVERTISED", "STATE", "CONNECTIONS", "NO AUTH YET", "TOO FAST", "BACKLOG")
				for i := range all {
					if err := out.add(&all[i], listenerCells(&all[i])...); err != nil {
						return err
					}
				}
				return out.end(true)
			})
		},
	}
}

func listenerCells(l *admin.ListenerInfo) []string {
	where, most, backlog := l.Addresses, "-", "-"
	if len(where) == 0 {
		where = l.Bind
	}
	if l.Status.MaxConnections > 0 {
		most = strconv.FormatInt(l.Status.MaxConnections, 10)
	}
	if l.Backlog != nil {
		backlog = strconv.Itoa(*l.Backlog)
	}
	state := l.State
	if state == admin.ListenerWaiting {
		state = "waiting for interface"
	}
	return []string{l.Name, l.Type, strings.Join(where, " "), strings.Join(l.Advertised, " "), state,
		fmt.Sprintf("%d/%s", l.Status.CurrentConnections, most), strconv.FormatInt(l.Unauthenticated, 10), strconv.FormatInt(l.RateRefused, 10), backlog}
}

// changeListener prints what came of a change.
func changeListener(cmd *cobra.Command, g *globals, done, not string, change func(context.Context, *admin.Client) (admin.ListenerChange, error)) error {
	return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
		r, err := change(ctx, c)
		if err != nil {
			return err
		}
		if g.Output == "json" {
			return writeConfigJSON(cmd.OutOrStdout(), r)
		}
		line := done
		if !r.Changed {
			line = not
		}
		line = fmt.Sprintf("%s %s", r.Listener.ID, line)
		switch {
		case len(r.Listener.Addresses) > 0:
			line += ": " + strings.Join(r.Listener.Addresses, " ")
		case r.Disconnected == 0 && r.Listener.State == admin.ListenerStopped:
			line += fmt.Sprintf("; %d connections go on", r.Listener.Status.CurrentConnections)
		}
		if r.Disconnected > 0 {
			line += fmt.Sprintf("; %d connections are closed", r.Disconnected)
		}
		if r.Note != "" {
			line += "; " + r.Note
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), plain(line))
		return err
	})
}

// oneListener says what is missing in the words of who is at work.
func oneListener(_ *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return &usageError{fmt.Errorf("name one listener; redoubt listeners list shows them")}
}

func listenersStopCmd(g *globals) *cobra.Command {
	var disconnect bool
	cmd := &cobra.Command{
		Use:   "stop NAME",
		Short: "Take no more connections at a listener",
		Long: "Closes the sockets of a listener: who connects is refused, who is connected stays. It stays stopped until redoubt listeners start\n" +
			"or a start of the broker. Who did it is in the broker's log. " + listenerNames + "\n\n" + brokerHelp,
		Example: "  redoubt listeners stop public\n  redoubt listeners stop mqtts:public --disconnect",
		Args:    oneListener,
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeListener(cmd, g, "is stopped", "is stopped", func(ctx context.Context, c *admin.Client) (admin.ListenerChange, error) {
				return c.StopListener(ctx, args[0], disconnect)
			})
		},
	}
	cmd.Flags().BoolVar(&disconnect, "disconnect", false, "disconnect its clients, too (DISCONNECT 0x98); their wills are sent and their sessions stay")
	return cmd
}

func listenersStartCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "start NAME",
		Short: "Open a listener that was stopped",
		Long: "Opens the sockets of a listener that was stopped, all of them or none, with the configuration that is in force now.\n" +
			listenerNames + "\n\n" + brokerHelp,
		Example: "  redoubt listeners start public",
		Args:    oneListener,
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeListener(cmd, g, "is started", "is as it was", func(ctx context.Context, c *admin.Client) (admin.ListenerChange, error) {
				return c.StartListener(ctx, args[0])
			})
		},
	}
}

func listenersRestartCmd(g *globals) *cobra.Command {
	var disconnect bool
	cmd := &cobra.Command{
		Use:   "restart NAME",
		Short: "Close and open a listener",
		Long: "Stops a listener and starts it, with the configuration that is in force now. If it cannot be opened again it is stopped.\n" +
			listenerNames + "\n\n" + brokerHelp,
		Example: "  redoubt listeners restart public --disconnect",
		Args:    oneListener,
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeListener(cmd, g, "is started again", "is as it was", func(ctx context.Context, c *admin.Client) (admin.ListenerChange, error) {
				return c.RestartListener(ctx, args[0], disconnect)
			})
		},
	}
	cmd.Flags().BoolVar(&disconnect, "disconnect", false, "disconnect its clients, too (DISCONNECT 0x98); their wills are sent and their sessions stay")
	return cmd
}
