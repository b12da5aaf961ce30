package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/mqtt"
)

func whyCmd(g *globals) *cobra.Command {
	var q admin.WhyQuery
	cmd := &cobra.Command{
		Use:   "why REF | CLIENT [publish|subscribe TOPIC]",
		Short: "Say why something was refused, or what decides about it now",
		Long: "Three questions:\n" +
			"  why REF                          what the eight digits stand for that a version 5 client was told with a refusal\n" +
			"  why CLIENT                       what this client identifier was refused lately, also before it was let in\n" +
			"  why CLIENT publish|subscribe T   what the broker would say if that client did it now, and which rule, file and line,\n" +
			"                                   or which limit decides. The topic is as the client writes it. Nothing is done.\n" +
			"The third is answered for the client of a session, with the rights that it has, connected or not.\n" +
			"\n" + answerHelp("0 found, and of the third: allowed, 1 denied (the third) or failed, 2 nothing was found of that reference, client identifier or session, or usage"),
		Example: "  redoubt why 7f3a09c2\n  redoubt why pump-1\n  redoubt why pump-1 publish plant/7/valve --qos 1 --retain",
		Args:    oneOrThree,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := adminClient(g)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return whyRefused(cmd, g, client, args[0])
			}
			err = whyAccess(cmd, g, client, &q, args, true)
			var p *admin.Problem
			if errors.As(err, &p) && p.Status == http.StatusNotFound {
				return unknown{fmt.Errorf("%w; redoubt clients list and redoubt sessions list show those there are; for somebody without: redoubt acl test --user NAME %s TOPIC", err, q.Action)}
			}
			return err
		},
	}
	whyFlags(cmd, &q)
	return cmd
}

func canICmd(g *globals) *cobra.Command {
	var q admin.WhyQuery
	cmd := &cobra.Command{
		Use:   "can-i CLIENT publish|subscribe TOPIC",
		Short: "Say yes or no: would a client be allowed to do something now",
		Long: "The question of `redoubt why` for scripts: prints yes or no, and unknown where there is no session of that client identifier, or\n" +
			"several: then what it could do is not known. `redoubt acl test` asks the rules for somebody who has no session.\n" +
			"\n" + answerHelp("0 yes, 1 no or failed, 2 unknown or usage"),
		Example: "  redoubt can-i pump-1 subscribe 'plant/+/valve' && echo fine",
		Args:    cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := adminClient(g)
			if err != nil {
				return err
			}
			err = whyAccess(cmd, g, client, &q, args, false)
			var p *admin.Problem
			if errors.As(err, &p) && (p.Status == http.StatusNotFound || p.Status == http.StatusConflict) {
				said := "unknown"
				if g.Output == "json" {
					said = `{"result":"unknown"}`
				}
				fmt.Fprintln(cmd.OutOrStdout(), said)
				return unknown{err}
			}
			return err
		},
	}
	whyFlags(cmd, &q)
	return cmd
}

// unknown is the exit code of a question that nobody can answer.
type unknown struct{ error }

func (unknown) ExitCode() int { return 2 }

func oneOrThree(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 1, 3:
		return nil
	case 0:
		return errors.New("what about? Name a client identifier, or the reference that a client was told")
	}
	return errors.New("write: why CLIENT publish|subscribe TOPIC")
}

func whyFlags(cmd *cobra.Command, q *admin.WhyQuery) {
	f := cmd.Flags()
	f.IntVar(&q.QoS, "qos", 0, "quality of service: of the message, or asked for by the subscription")
	f.BoolVar(&q.Retain, "retain", false, "the message is to be retained (publish)")
	f.StringVar(&q.Identity, "identity", "", "whose session, where several identities have one of that client identifier")
	f.StringVar(&q.Mountpoint, "mountpoint", "", "likewise, its mountpoint")
}

// whyAccess asks about what a client would do. In full it prints what decides; else a word.
func whyAccess(cmd *cobra.Command, g *globals, client *admin.Client, q *admin.WhyQuery, args []string, full bool) error {
	q.ClientID, q.Action, q.Topic = args[0], args[1], args[2]
	switch {
	case q.Action != "publish" && q.Action != "subscribe":
		return &usageError{fmt.Errorf("%q: write publish or subscribe, then the topic", q.Action)}
	case q.QoS < 0 || q.QoS > 2:
		return &usageError{fmt.Errorf("--qos %d: it is 0, 1 or 2", q.QoS)}
	}
	a, err := client.Why(cmd.Context(), *q)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	switch {
	case g.Output == "json":
		err = writeConfigJSON(out, a)
	case full:
		_, err = io.WriteString(out, whyText(&a))
	case a.Allow():
		_, err = io.WriteString(out, "yes\n")
	default:
		_, err = io.WriteString(out, "no\n")
	}
	if err == nil && !a.Allow() {
		err = denied{}
	}
	return err
}

// whyText is an answer as a person reads it.
func whyText(a *admin.WhyAnswer) string {
	var b strings.Builder
	b.WriteString(a.Result)
	if a.Partly {
		b.WriteString(", with every delivery checked")
	}
	if a.Reason != 0 {
		fmt.Fprintf(&b, ": 0x%02X %s", a.Reason, mqtt.ReasonCode(a.Reason)) //nolint:gosec // a byte
	}
	b.WriteString("\n")
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-9s %s\n", name, plain(fmt.Sprintf(format, args...)))
	}
	if a.Limit != "" {
		line("limit", "%s", a.Limit)
	}
	if a.Rule != nil {
		line("rule", "%s: %s", a.Rule.Place(), a.Rule.Text)
	}
	if a.Note != "" {
		line("note", "%s", a.Note)
	}
	if a.Judged != "" {
		line("topic", "%s, as the rules see it", a.Judged)
	}
	c := &a.Client
	state := "away"
	if c.Connected {
		state = "connected"
	}
	line("client", "%s of %s (%s, by authenticator %s), address %s, listener %s", c.ClientID, orNone(c.Username), state, c.Method, orNone(c.IPAddress), c.Listener)
	for i := range a.Refusals {
		line("refused", "%s", refusalLine(&a.Refusals[i]))
	}
	return b.String()
}

// whyRefused looks for a reference, and else for a client identifier.
func whyRefused(cmd *cobra.Command, g *globals, client *admin.Client, what string) error {
	var list admin.RefusalList
	var err error
	if _, no := audit.ParseRef(what); no == nil {
		if list, err = client.Refusals(cmd.Context(), admin.RefusalQuery{Ref: what}); err != nil {
			return err
		}
	}
	if len(list.Data) == 0 {
		if list, err = client.Refusals(cmd.Context(), admin.RefusalQuery{ClientID: what}); err != nil {
			return err
		}
	}
	out := cmd.OutOrStdout()
	if g.Output == "json" {
		if err := writeConfigJSON(out, list); err != nil || len(list.Data) > 0 {
			return err
		}
		return unsure{}
	}
	if len(list.Data) == 0 {
		fmt.Fprintf(out, "nothing was refused lately to a client %q, and no refusal has that reference. Eight are kept of each of the last 1,024 clients,\n"+
			"and, of those who did not prove who they are, of each of the last 1,024 networks, from the start of the broker on; older ones are in its log. Who has a session: redoubt clients list, redoubt sessions list; what decides now for one of them:\n"+
			"redoubt why CLIENT publish TOPIC; for somebody without: redoubt acl test --user NAME publish TOPIC\n", what)
		return unsure{}
	}
	_, err = io.WriteString(out, refusedText(list.Data))
	return err
}

// refusedText is what was refused, as a person reads it. Strangers have chosen some of it.
func refusedText(list []admin.RefusalInfo) string {
	var b strings.Builder
	for i := range list {
		r := &list[i]
		fmt.Fprintf(&b, "%s\n  why       %s\n", plain(refusalLine(r)), plain(r.Why))
		if r.By != "" {
			fmt.Fprintf(&b, "  by        authenticator %s\n", plain(r.By))
		}
		if r.Rule != "" {
			fmt.Fprintf(&b, "  rule      %s\n", plain(r.Place+": "+r.Rule))
		}
		fmt.Fprintf(&b, "  client    %s\n", plain(fmt.Sprintf("%s of %s, address %s, listener %s", orNone(r.ClientID), orNone(r.Username), orNone(r.IPAddress), r.Listener)))
	}
	return b.String()
}

// refusalLine is when, what and how often.
func refusalLine(r *admin.RefusalInfo) string {
	s := fmt.Sprintf("%s  ref %s  %s", when(&r.Last), r.Ref, r.Event)
	if r.Topic != "" {
		s += fmt.Sprintf(" %q QoS %d", r.Topic, r.QoS)
	}
	if r.Retain {
		s += " retained"
	}
	if r.Times > 1 {
		s += fmt.Sprintf(", %d times in %s", r.Times, r.Last.Sub(r.First).Round(time.Second))
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "nobody"
	}
	return s
}
