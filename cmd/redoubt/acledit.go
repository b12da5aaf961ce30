package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/acl"
)

// ruleSubject is whom built-in rules are for, as flags.
type ruleSubject struct {
	user, client string
	everybody    bool
}

func (s *ruleSubject) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.user, "user", "", "rules of the user `NAME`, whatever client it uses")
	f.StringVar(&s.client, "client", "", "rules of the client identifier `ID`, whoever uses it")
	f.BoolVar(&s.everybody, "everybody", false, "rules for everybody")
}

// check wants one of them; none is any for a list.
func (s *ruleSubject) check(none bool) error {
	n := 0
	for _, given := range []bool{s.user != "", s.client != "", s.everybody} {
		if given {
			n++
		}
	}
	switch {
	case n > 1:
		return &usageError{errors.New("--user, --client and --everybody: give one of them")}
	case n == 0 && !none:
		return &usageError{errors.New("whom is the rule for? Give --user, --client or --everybody")}
	case !utf8.ValidString(s.user) || !utf8.ValidString(s.client): // JSON would say something else
		return &usageError{errors.New("the name is not UTF-8")}
	}
	return nil
}

func ruleFor(s *admin.SubjectRules) string {
	switch {
	case s.ClientID != "":
		return "client " + plain(s.ClientID)
	case s.Username != "":
		return "user " + plain(s.Username)
	}
	return "everybody"
}

func aclAddCmd(g *globals) *cobra.Command {
	var who ruleSubject
	var rule admin.BuiltinRule
	var first bool
	cmd := &cobra.Command{
		Use:   "add --user NAME|--client ID|--everybody allow|deny publish|subscribe|all FILTER",
		Short: "Add a built-in rule",
		Long: "Adds a built-in rule behind those there are for the same user, client or everybody. Of the built-in rules those of the client\n" +
			"are asked first, then those of the user, then those for everybody; the first that matches decides. It is in force at once, also\n" +
			"for what clients have subscribed to, and survives a restart. What is printed is read back. One that is\n" +
			"there already is not added again, which is said, with exit code 0. FILTER is a topic filter with placeholders such as ${username}\n" +
			"(in single quotes, or the shell replaces them); \"eq FILTER\" is the subscription to exactly that.\n\n" + brokerHelp,
		Example: "  redoubt acl add --user alice allow publish 'plant/7/#'\n  redoubt acl add --everybody allow subscribe 'news/#'\n" +
			"  redoubt acl add --client pump-7 deny publish 'plant/7/config' --first",
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			rule.Permission, rule.Action, rule.Topic = args[0], args[1], args[2]
			if err := who.check(false); err != nil {
				return err
			}
			switch {
			case rule.Permission != "allow" && rule.Permission != "deny":
				return &usageError{fmt.Errorf("%q: write allow or deny, then publish, subscribe or all, then the topic filter", rule.Permission)}
			case rule.Action != "publish" && rule.Action != "subscribe" && rule.Action != "all":
				return &usageError{fmt.Errorf("%q: write publish, subscribe or all", rule.Action)}
			case !utf8.ValidString(rule.Topic) || rule.Topic == "":
				return &usageError{errors.New("FILTER is empty or not UTF-8")}
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				after, err := c.EditRules(ctx, &admin.RulesEdit{Username: who.user, ClientID: who.client, Add: []admin.BuiltinRule{rule}, First: first})
				if err != nil {
					return err
				}
				is, err := c.BuiltinRules(ctx, who.user, who.client)
				if err != nil {
					return notReadBack(err)
				}
				n := slices.IndexFunc(is.Rules, func(r admin.BuiltinRule) bool { return acl.Entry(r).Same(acl.Entry(rule)) })
				if n < 0 {
					return notReadBack(nil)
				}
				if len(after.Already) > 0 {
					is.Already = []int{n + 1}
					fmt.Fprintf(cmd.ErrOrStderr(), "already there: rule %d for %s; nothing was changed\n", n+1, ruleFor(&is))
				}
				return printRules(cmd, g, []admin.SubjectRules{is})
			})
		},
	}
	who.flags(cmd)
	f := cmd.Flags()
	f.IntSliceVar(&rule.QoS, "qos", nil, "for these quality of service only, as `LIST` such as 0,1")
	f.StringVar(&rule.Retain, "retain", "", "for messages with the retain flag `true|false` only (publish)")
	f.BoolVar(&first, "first", false, "add it before the others")
	return cmd
}

func aclListCmd(g *globals) *cobra.Command {
	var who ruleSubject
	cmd := &cobra.Command{
		Use:     "list [--user NAME|--client ID|--everybody]",
		Short:   "List the built-in rules",
		Long:    "Lists the built-in rules, or those of one user, one client or everybody, in the order they are judged.\n\n" + brokerHelp,
		Example: "  redoubt acl list --user alice",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := who.check(true); err != nil {
				return err
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				if who != (ruleSubject{}) {
					one, err := c.BuiltinRules(ctx, who.user, who.client)
					if err != nil {
						return err
					}
					return printRules(cmd, g, []admin.SubjectRules{one})
				}
				list := []admin.SubjectRules{}
				if err := c.EachBuiltinRules(ctx, func(s *admin.SubjectRules) error { list = append(list, *s); return nil }); err != nil {
					return err
				}
				return printRules(cmd, g, list)
			})
		},
	}
	who.flags(cmd)
	return cmd
}

func aclDeleteCmd(g *globals) *cobra.Command {
	var who ruleSubject
	var all bool
	cmd := &cobra.Command{
		Use:   "delete --user NAME|--client ID|--everybody NUMBER|--all",
		Short: "Delete a built-in rule",
		Long: "Deletes the built-in rule with that number in the list of a user, a client or everybody, or with --all all of them. What clients\n" +
			"have subscribed to and may not any more ends within two seconds.\n\n" + brokerHelp,
		Example: "  redoubt acl delete --user alice 2\n  redoubt acl delete --client pump-7 --all",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := who.check(false); err != nil {
				return err
			}
			n := 0
			if (len(args) == 1) == all {
				return &usageError{errors.New("which one? Give the number that redoubt acl list shows, or --all")}
			}
			if !all {
				var err error
				if n, err = strconv.Atoi(args[0]); err != nil || n < 1 {
					return &usageError{fmt.Errorf("%q is no number of a rule; redoubt acl list shows them", args[0])}
				}
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				if all {
					return c.ClearRules(ctx, who.user, who.client)
				}
				after, err := c.EditRules(ctx, &admin.RulesEdit{Username: who.user, ClientID: who.client, Delete: n})
				if err != nil {
					return err
				}
				return printRules(cmd, g, []admin.SubjectRules{after})
			})
		},
	}
	who.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "delete all of them")
	return cmd
}

func printRules(cmd *cobra.Command, g *globals, list []admin.SubjectRules) error {
	out := cmd.OutOrStdout()
	if g.Output == "json" {
		return writeConfigJSON(out, list)
	}
	if len(list) > 0 && list[0].Note != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), plain(list[0].Note))
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "FOR\tNO\tRULE")
	for i := range list {
		for n, r := range list[i].Rules {
			text := r.Permission + " " + r.Action + " " + plain(r.Topic)
			if len(r.QoS) > 0 {
				text += " qos " + strings.Trim(fmt.Sprint(r.QoS), "[]")
			}
			if r.Retain != "" && r.Retain != "all" {
				text += " retain " + r.Retain
			}
			fmt.Fprintf(w, "%s\t%d\t%s\n", ruleFor(&list[i]), n+1, text)
		}
	}
	return w.Flush()
}
