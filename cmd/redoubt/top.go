package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/limit/top"
)

// How many rows there are where nobody says so: of one measure, and of each.
const (
	topRows     = 10
	topRowsEach = 3
	topRowsMax  = 100
)

// topWatchMin is how often somebody may look: what is counted comes once a second.
const topWatchMin = time.Second

const topHelp = `Shows who does most, in the last half minute to minute: the command for a flood, or a processor at 100 %.
Without MEASURE a few of each that there is.

  messages   publishes of a client            connects   connects of a client that were accepted
  bytes      of those                         refused    connections that were refused before there was a whole CONNECT
  packets    of every kind, from a client     logins     CONNECTs that were refused
  out        messages to a client             denied     publishes and filters that the rules refused
  out-bytes  of those                         throttled  messages and filters over a rate

Figures are for each second of the whole time that the first line has, so a flood that has just begun does more than
is shown; the share is that of all there was. Where very many names share the places for
them a figure has bounds, as 20-35; the order is by what is certain. Clients and users are those who have proved who
they are; what strangers do is counted by the network they come from (a /24, a /56 of IPv6), whatever they call
themselves. Below are commands for those who have most; docs/ops/overload.md says more.

` + brokerHelp

func topCmd(g *globals) *cobra.Command {
	var q admin.TopQuery
	var every time.Duration
	cmd := &cobra.Command{
		Use:     "top [MEASURE]",
		Short:   "Say who sends, gets, connects and is refused most",
		Long:    topHelp,
		Example: "  redoubt top\n  redoubt top messages -n 20\n  redoubt top bytes --by user\n  redoubt top refused --watch 2s\n  redoubt top -o json | jq '.lists[] | select(.measure == \"connects\")'",
		Args:    topMeasure, ValidArgs: top.Measures[:],
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.Measure = args[0]
			}
			if err := checkTop(cmd, &q, every); err != nil {
				return &usageError{err}
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				return showTop(ctx, cmd.OutOrStdout(), c, &q, every, g.Output == "json")
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.By, "by", "", "tell these apart: client, user or `network`; without it networks for refused and logins, else clients")
	f.IntVarP(&q.Limit, "number", "n", topRows, "at most `N` rows of a measure; 3 where all are shown")
	f.Var((*span)(&every), "watch", "look again each `INTERVAL`, 1s or longer, until ctrl-C; as JSON a line for each look")
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(top.Bys[:], cobra.ShellCompDirectiveNoFileComp)) // there is such a flag
	return cmd
}

// topMeasure takes one measure, or none.
func topMeasure(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && !slices.Contains(top.Measures[:], args[0]) {
		return fmt.Errorf("%q is no measure: it is one of %s", args[0], strings.Join(top.Measures[:], ", "))
	}
	return cobra.MaximumNArgs(1)(cmd, args)
}

func checkTop(cmd *cobra.Command, q *admin.TopQuery, every time.Duration) error {
	if q.Measure == "" && !cmd.Flags().Changed("number") {
		q.Limit = topRowsEach
	}
	switch {
	case q.Limit < 1 || q.Limit > topRowsMax:
		return fmt.Errorf("--number %d: it is 1 to %d", q.Limit, topRowsMax)
	case q.By != "" && !slices.Contains(top.Bys[:], q.By):
		return fmt.Errorf("--by %q: it is client, user or network", q.By)
	case q.Measure == top.Refused.String() && q.By != "" && q.By != top.ByNetwork.String():
		return errors.New("--by " + q.By + ": what is refused before a CONNECT has proved no name; leave it out, or look at logins")
	case cmd.Flags().Changed("watch") && every < topWatchMin:
		return fmt.Errorf("--watch %v: %v is the shortest", every, topWatchMin)
	}
	return nil
}

// showTop shows it once, or again and again.
func showTop(ctx context.Context, w io.Writer, c *admin.Client, q *admin.TopQuery, every time.Duration, asJSON bool) error {
	for first := true; ; first = false {
		r, err := c.Top(ctx, q)
		switch {
		case ctx.Err() != nil && !first:
			return nil
		case err != nil:
			return err
		case asJSON && every == 0:
			return writeConfigJSON(w, r)
		case asJSON:
			err = json.NewEncoder(w).Encode(r)
		default:
			if !first {
				fmt.Fprintln(w)
			}
			err = printTop(w, &r, q)
		}
		if err != nil || every == 0 {
			return err
		}
		wait := time.NewTimer(every)
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
}

// Talkers implements admin.Talkers.
func (n *node) Talkers(m top.Measure, by top.By, rows int) top.List {
	return n.broker.Top().Top(n.clock.Now(), m, by, rows)
}

// traffic is how much goes on, for redoubt status.
func (n *node) traffic() admin.TrafficStatus {
	rate := func(ms ...top.Measure) (sum float64) {
		for _, m := range ms {
			l := n.Talkers(m, top.ByNetwork, 0)
			sum += float64(l.Total) / l.Window.Seconds()
		}
		return sum
	}
	return admin.TrafficStatus{MessagesIn: rate(top.Messages), MessagesOut: rate(top.Out), Connects: rate(top.Connects), Refused: rate(top.Refused, top.Logins)}
}

// Who is named in an alarm has at least that part of all there is, and does it that often a
// second: somebody always does most.
const (
	loudestPart      = 4
	loudestPerSecond = 10
	loudestName      = 64 // bytes of a name that are shown
)

// loudest says who does most of some measures on a loop, or on all, as far as somebody stands out. Names are
// those of clients that have proved who they are. Strangers are on no loop for certain.
func (n *node) loudest(loop int, measures ...top.Measure) (words string) {
	for _, m := range measures {
		by, _ := admin.TopBy(m, "")
		l := n.broker.Top().TopOf(loop, n.clock.Now(), m, by, 1)
		if len(l.Rows) == 0 {
			continue
		}
		r := &l.Rows[0]
		rate := float64(r.AtLeast) / l.Window.Seconds()
		if r.AtLeast < l.Total/loudestPart || rate < loudestPerSecond {
			continue
		}
		who := "network " + r.Network.String()
		switch {
		case by == top.ByClient:
			who = fmt.Sprintf("client %q of %q", short(r.ClientID), short(cmp.Or(r.Username, r.Identity)))
		case !r.Network.IsValid():
			who = "whoever uses unix socket " + r.Listener
		}
		there := ""
		if loop != top.AnyLoop && by == top.ByClient {
			there = fmt.Sprintf(" on loop %d", loop)
		}
		words += fmt.Sprintf("; most %s%s: %s, %.0f a second, %d %% of all%s", m, there, who, rate, r.AtLeast*100/l.Total, there)
	}
	return words + "; redoubt top says more"
}

func short(name string) string {
	if len(name) > loudestName {
		return name[:loudestName] + "..."
	}
	return name
}
