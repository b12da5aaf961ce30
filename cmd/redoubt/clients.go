package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/session"
)

func clientsCmd(g *globals) *cobra.Command {
	return group("clients", "List, show and kick clients",
		"Clients: who is connected, from where and how they are doing. What outlives a connection is under sessions.\n\n"+brokerHelp,
		clientsListCmd(g), showCmd(g, "one client, its connection and its session"),
		endCmd(g, &cobra.Command{
			Use:   "kick ID",
			Short: "Disconnect a client and end its session",
			Long: "Disconnects the client (DISCONNECT 0x98), publishes its will and ends its session, also one that waits for a client\n" +
				"that is away. It may connect again at once: to keep it out, delete the user. Who did it is in the broker's log.\n\n" + brokerHelp,
			Example: "  redoubt clients kick pump-1\n  redoubt clients kick pump-1 --identity alice",
		}, "kicked", (*admin.Client).Kick))
}

func sessionsCmd(g *globals) *cobra.Command {
	return group("sessions", "List, show and delete sessions",
		"Sessions: what the broker keeps for a client, connected or not. A session belongs to an identity and a client id together.\n\n"+brokerHelp,
		sessionsListCmd(g), showCmd(g, "one session and the connection it has"),
		endCmd(g, &cobra.Command{
			Use:   "delete ID",
			Short: "End a session",
			Long: "Ends a session: its subscriptions and what waits in it are gone, its will is published. A client that is connected\n" +
				"is disconnected first (DISCONNECT 0x98). Who did it is in the broker's log.\n\n" + brokerHelp,
			Example: "  redoubt sessions delete pump-1",
		}, "deleted", (*admin.Client).DeleteSession))
}

func clientsListCmd(g *globals) *cobra.Command {
	var flags sessionFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the connected clients",
		Long:    "Lists the connected clients, or those that the flags select.\n" + listHelp,
		Example: "  redoubt clients list\n  redoubt clients list --client 'pump-*' --address 192.0.2.0/24\n  redoubt clients list -o json | jq -r '.data[].clientid'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			return list(cmd, g, []string{"CLIENT", "USER", "ADDRESS", "LISTENER", "MQTT", "CONNECTED (UTC)", "SUBS", "INFLIGHT", "QUEUED"}, (*admin.Client).EachClient, f, func(c *admin.ClientInfo) []string {
				return []string{c.ClientID, who(c), address(c), c.Listener, c.VersionName(), when(c.ConnectedAt),
					strconv.Itoa(c.SubscriptionsCnt), strconv.Itoa(c.InflightCnt), strconv.Itoa(c.MqueueLen)}
			})
		},
	}
	flags.register(cmd, "connected")
	return cmd
}

func sessionsListCmd(g *globals) *cobra.Command {
	var flags sessionFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the sessions",
		Long:    "Lists the sessions, or those that the flags select.\n" + listHelp,
		Example: "  redoubt sessions list --state disconnected",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			return list(cmd, g, []string{"CLIENT", "USER", "STATE", "EXPIRES (UTC)", "SUBS", "INFLIGHT", "QUEUED", "BYTES", "DROPPED"}, (*admin.Client).EachSession, f, func(c *admin.ClientInfo) []string {
				return []string{c.ClientID, who(c), state(c), when(c.ExpiresAt), strconv.Itoa(c.SubscriptionsCnt), strconv.Itoa(c.InflightCnt),
					strconv.Itoa(c.MqueueLen), strconv.FormatInt(c.MqueueBytes, 10), strconv.FormatUint(c.MqueueDropped, 10)}
			})
		},
	}
	flags.register(cmd, "any")
	return cmd
}

// shownSubscriptions is how many subscriptions show prints.
const shownSubscriptions = 100

// clientDetail is what show prints as JSON.
type clientDetail struct {
	admin.ClientInfo
	Subscriptions []admin.SubscriptionInfo `json:"subscriptions"`
}

func showCmd(g *globals, what string) *cobra.Command {
	var one oneSession
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show " + what,
		Long:  "Shows " + what + ", with its subscriptions (the first 100).\n\n" + brokerHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				ref := one.ref(cmd, args[0])
				info, err := c.Session(ctx, ref)
				if err != nil {
					return orBanned(ctx, c, &ref, err)
				}
				d := clientDetail{info, []admin.SubscriptionInfo{}}
				err = c.EachSubscription(ctx, info.Ref().Filter(), func(s *admin.SubscriptionInfo) error {
					if len(d.Subscriptions) == shownSubscriptions {
						return errEnough
					}
					d.Subscriptions = append(d.Subscriptions, *s)
					return nil
				})
				if err != nil && err != errEnough {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), d)
				}
				return printClient(cmd, &d)
			})
		},
	}
	one.register(cmd)
	return cmd
}

// endCmd is kick and delete.
func endCmd(g *globals, cmd *cobra.Command, done string, end func(*admin.Client, context.Context, admin.SessionRef) error) *cobra.Command {
	var one oneSession
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
			info, err := c.Session(ctx, one.ref(cmd, args[0])) // whose it is must be clear
			if err != nil {
				return err
			}
			if err := end(c, ctx, info.Ref()); err != nil {
				return err
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), map[string]any{done: info.ClientID, "identity": info.Identity, "connected": info.Connected})
			}
			was := "was not connected"
			if info.Connected {
				was = "was connected from " + address(&info)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: client %s of %s, which %s; its session has ended\n", done, plain(info.ClientID), plain(who(&info)), was)
			return err
		})
	}
	one.register(cmd)
	return cmd
}

func printClient(cmd *cobra.Command, d *clientDetail) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	line := func(name, form string, a ...any) { fmt.Fprintf(w, "%s\t%s\n", name, plain(fmt.Sprintf(form, a...))) }
	line("client", "%s", d.ClientID)
	line("identity", "%s", d.Identity)
	line("user", "%s", d.Username)
	if d.Mountpoint != "" {
		line("mountpoint", "%s", d.Mountpoint)
	}
	line("state", "%s", state(&d.ClientInfo))
	line("address", "%s", address(&d.ClientInfo))
	line("listener", "%s", d.Listener)
	line("protocol", "MQTT %s", d.VersionName())
	if d.TLSVersion != "" {
		line("tls", "%s", strings.TrimSpace(d.TLSVersion+" "+d.TLSCipher+" "+d.TLSGroup))
	}
	if d.Connected {
		line("connected", "since %s UTC", when(d.ConnectedAt))
		line("clean start", "%s", yes(d.CleanStart))
		line("keep alive", "%d s", d.KeepAlive)
		line("reading", "%s", reading(d))
		line("sending", "%s, %d bytes on their way", sending(d), d.SendPend)
	} else if d.DisconnectedAt != nil {
		line("disconnected", "since %s UTC", when(d.DisconnectedAt))
	}
	line("session expiry", "%s", expiry(d))
	if d.HasWill {
		line("will", "on %s", d.WillTopic)
	} else {
		line("will", "none")
	}
	line("inflight", "%d of %d", d.InflightCnt, d.InflightMax)
	line("mqueue", "%d of %d messages, %d of %d bytes", d.MqueueLen, d.MqueueMax, d.MqueueBytes, d.MqueueBytesMax)
	line("awaiting rel", "%d of %d", d.AwaitingRelCnt, d.AwaitingRelMax)
	line("not settled", "%d", d.PendingCnt)
	line("dropped", "%d queue full, %d expired, %d too large, %d QoS 0 while away, %d for want of memory", d.Dropped.QueueFull, d.Dropped.Expired, d.Dropped.TooLarge, d.Dropped.Offline, d.Dropped.Overload)
	m := &d.Memory
	line("memory", "%d bytes: connection %d, queue %d, inflight %d, not settled %d, subscriptions %d, names %d, will %d, session %d",
		m.Sum, m.Connection, m.Queue, m.Inflight, m.Pending, m.Subscriptions, m.Names, m.Will, m.Session)
	for _, r := range d.Rates {
		line("spent", "%d of %d of %s, %d a second come again", r.Spent, r.Burst, r.Limit, r.PerSecond)
	}
	if u := &d.User; *u != (admin.UserHas{}) {
		line("user has", "%d retained messages of %d bytes, %d bytes in the store for those who do not come", u.RetainedMessages, u.RetainedBytes, u.StoredBytes)
	}
	line("subscriptions", "%d", d.SubscriptionsCnt)
	for i := range d.Subscriptions {
		s := &d.Subscriptions[i]
		line("", "%s", strings.TrimRight(fmt.Sprintf("QoS %d  %s  %s", s.QoS, s.Topic, options(s)), " "))
	}
	if more := d.SubscriptionsCnt - len(d.Subscriptions); more > 0 {
		line("", "and %d more: redoubt subs list --client ID", more)
	}
	return w.Flush()
}

func who(c *admin.ClientInfo) string {
	if c.Username == "" {
		return c.Identity
	}
	return c.Username
}

func address(c *admin.ClientInfo) string {
	switch {
	case c.Port == 0:
		return c.IPAddress
	case strings.Contains(c.IPAddress, ":"):
		return fmt.Sprintf("[%s]:%d", c.IPAddress, c.Port)
	}
	return fmt.Sprintf("%s:%d", c.IPAddress, c.Port)
}

func state(c *admin.ClientInfo) string {
	if c.Connected {
		return "connected"
	}
	return "disconnected"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// reading says why the connection is not read, in words.
func reading(d *clientDetail) string {
	words := map[string]string{
		"publish_rate": "it publishes over " + d.PausedLimit, "subscribe_rate": "it subscribes over " + d.PausedLimit,
		"listener_publish_rate_total": "clients of its listener publish over " + d.PausedLimit + ", and it more than its part",
		"publish_rate_total":          "all clients publish over " + d.PausedLimit + ", and it more than its part",
		"other_home":                  "what it published waits for another loop", "unread_answers": "it does not read its answers",
	}
	var why []string
	for _, p := range d.PausedBy {
		why = append(why, words[p])
	}
	if len(why) == 0 {
		return "yes"
	}
	said := "paused: " + strings.Join(why, "; ")
	if d.PausedSince != nil {
		said += ", since " + when(d.PausedSince) + " UTC"
	}
	return said
}

func sending(d *clientDetail) string {
	if d.Congested {
		return "held up: the client does not take more"
	}
	return "yes"
}

func expiry(d *clientDetail) string {
	switch {
	case d.ExpiryInterval == session.ExpiryNever:
		return "never"
	case d.ExpiryInterval == 0:
		return "with the connection"
	case d.ExpiresAt != nil:
		return "at " + when(d.ExpiresAt) + " UTC"
	}
	return (time.Duration(d.ExpiryInterval) * time.Second).String() + " after the connection ends"
}
