package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

func subsCmd(g *globals) *cobra.Command {
	return group("subs", "List subscriptions", "Subscriptions: who wants which messages.\n\n"+brokerHelp, subsListCmd(g))
}

func subsListCmd(g *globals) *cobra.Command {
	var flags sessionFlags
	var filter, match string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the subscriptions",
		Long:  "Lists the subscriptions, or those that the flags select.\n" + listHelp,
		Example: "  redoubt subs list --match plant/a/temp        # who gets what is published there?\n" +
			"  redoubt subs list --filter 'plant/#'\n  redoubt subs list --client 'pump-*'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			set(f, "topic", filter)
			set(f, "match_topic", match)
			return list(cmd, g, []string{"CLIENT", "USER", "QOS", "OPTIONS", "FILTER"}, (*admin.Client).EachSubscription, f, func(s *admin.SubscriptionInfo) []string {
				user := s.Username
				if user == "" {
					user = s.Identity
				}
				return []string{s.ClientID, user, strconv.Itoa(s.QoS), options(s), s.Topic}
			})
		},
	}
	flags.register(cmd, "any")
	cmd.Flags().StringVar(&filter, "filter", "", "only subscriptions with exactly this topic `FILTER`")
	cmd.Flags().StringVar(&match, "match", "", "only subscriptions that match this `TOPIC` name")
	return cmd
}

// options are what a subscription asks for beside its QoS.
func options(s *admin.SubscriptionInfo) string {
	var o []string
	if s.NL == 1 {
		o = append(o, "no-local")
	}
	if s.RAP == 1 {
		o = append(o, "retain-as-published")
	}
	if s.SubID != 0 {
		o = append(o, fmt.Sprintf("id=%d", s.SubID))
	}
	if s.Partly {
		o = append(o, "partly-denied")
	}
	return strings.Join(o, ",")
}
