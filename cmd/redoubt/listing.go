package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

// listHelp is what every command says whose list may be long.
const listHelp = "Rows are printed as they come, in no order; the broker is asked for a page at a time and serves its clients between.\n" +
	"With -o json: {\"data\": [...]}, an object a line; a list that was broken off is not closed.\n\n" + brokerHelp + "\nInterrupted: 130."

// interrupted is the end of a list by ^C.
type interrupted struct{ done string }

func (i interrupted) Error() string { return "interrupted; " + i.done }
func (interrupted) ExitCode() int   { return 130 }

// withBroker runs do with a client, until a signal.
func withBroker(cmd *cobra.Command, g *globals, do func(ctx context.Context, c *admin.Client) error) error {
	client, err := adminClient(g)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return do(ctx, client)
}

// list prints what each hands over, row by row.
func list[R any](cmd *cobra.Command, g *globals, header []string, each func(*admin.Client, context.Context, admin.Filter, func(*R) error) error, f admin.Filter, cells func(*R) []string) error {
	return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
		out := newRows(cmd.OutOrStdout(), g.Output == "json", header...)
		err := each(c, ctx, f, func(r *R) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return out.add(r, cells(r)...)
		})
		if werr := out.end(err == nil); werr != nil {
			return werr
		}
		if ctx.Err() != nil {
			return interrupted{fmt.Sprintf("the list is not complete (%d rows)", out.n)}
		}
		return err
	})
}

// sessionFlags select sessions.
type sessionFlags struct {
	client, user, identity, listener, address, state string
}

func (s *sessionFlags) register(cmd *cobra.Command, state string) {
	f := cmd.Flags()
	f.StringVar(&s.client, "client", "", "only this client `ID`; * stands for any characters")
	f.StringVar(&s.user, "user", "", "only clients of this user `NAME`")
	f.StringVar(&s.identity, "identity", "", "only clients of this identity `NAME`")
	f.StringVar(&s.listener, "listener", "", "only clients that came in at this listener `NAME`")
	f.StringVar(&s.address, "address", "", "only clients from this `ADDRESS` or network (192.0.2.0/24)")
	f.StringVar(&s.state, "state", state, "connected, disconnected or any")
}

func (s *sessionFlags) filter() (admin.Filter, error) {
	if s.state != "connected" && s.state != "disconnected" && s.state != "any" {
		return nil, &usageError{fmt.Errorf("--state %q: it is connected, disconnected or any", s.state)}
	}
	f := admin.Filter{"conn_state": s.state}
	id := "clientid"
	if strings.Contains(s.client, "*") {
		id = "match_clientid"
	}
	set(f, id, s.client)
	set(f, "username", s.user)
	set(f, "identity", s.identity)
	set(f, "listener", s.listener)
	set(f, "ip_address", s.address)
	return f, nil
}

// set leaves out what nobody asked for.
func set(f admin.Filter, name, value string) {
	if value != "" {
		f[name] = value
	}
}

// oneSession is the command line that names one session.
type oneSession struct{ identity, mountpoint string }

func (o *oneSession) register(cmd *cobra.Command) {
	cmd.Args = cobra.ExactArgs(1)
	f := cmd.Flags()
	f.StringVar(&o.identity, "identity", "", "identity `NAME` the session belongs to; needed where several have a client of this id")
	f.StringVar(&o.mountpoint, "mountpoint", "", "mountpoint `PREFIX` of its topics; needed where one identity has several of this id")
}

func (o *oneSession) ref(cmd *cobra.Command, id string) admin.SessionRef {
	r := admin.SessionRef{ClientID: id}
	if cmd.Flags().Changed("identity") {
		r.Identity = &o.identity
	}
	if cmd.Flags().Changed("mountpoint") {
		r.Mountpoint = &o.mountpoint
	}
	return r
}

// errEnough ends a listing of which no more is wanted.
var errEnough = errors.New("enough")

// when is a time for people.
func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// group is a command that only has others.
func group(use, short, long string, sub ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(sub...)
	return cmd
}
