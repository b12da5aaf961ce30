package main

import (
	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/client/bench"
	"github.com/redoubtmq/redoubt/client/cli"
)

// benchScenarios are the commands below `redoubt bench`.
var benchScenarios = []struct {
	scenario             bench.Scenario
	short, long, example string
}{
	{bench.Conn, "Connect many clients, and stay",
		"Connect many clients as fast as possible, or at a rate (-i, --ramp): connections a second, time until CONNACK, failures by reason.",
		"  redoubt bench conn -u sensor1 --password-file pw -c 1000 --hold 60"},
	{bench.Pub, "Publish from many clients",
		"Publish from many clients, to nobody in particular: messages a second, and with QoS 1 and 2 the time until they are acknowledged.",
		"  redoubt bench pub -u sensor1 --password-file pw -t devices/sensor1/bench -c 50 -q 1 --rate 5000"},
	{bench.Sub, "Subscribe many clients, and count",
		"Subscribe many clients to what `redoubt bench pub` with the same -t publishes elsewhere, and count: latency is true where both sides have one clock.",
		"  redoubt bench sub -u sensor1 --password-file pw -t devices/sensor1/bench -c 10 -q 1 --duration 60"},
	{bench.Pair, "Publish from many clients, each to a subscriber of its own",
		"Pairs of a publisher and a subscriber: deliveries a second, latency, and what was lost, came twice or out of order.",
		"  redoubt bench pair -u sensor1 --password-file pw -t devices/sensor1/bench -c 100 -q 1\n" +
			"  redoubt bench pair -u sensor1 --password-file pw -t devices/sensor1/bench -c 100 -q 1 --rate 1000 -o json"},
	{bench.Fan, "Publish from one client to many, or from many to one",
		"One publisher and many subscribers (--fan-out), many publishers and one subscriber (--fan-in), or several that share (--share).",
		"  redoubt bench fan -u sensor1 --password-file pw -t devices/sensor1/bench --fan-out 1000\n" +
			"  redoubt bench fan -u sensor1 --password-file pw -t devices/sensor1/bench --fan-in 50 --share 5 -q 1"},
	{bench.Offline, "Publish to sessions that are away, and have them come back",
		"Make durable sessions, let them go, publish to all of them, and have them come back: what was acknowledged and is lost, and what came twice.\n" +
			"The sessions are removed at the end unless --keep says otherwise.",
		"  redoubt bench offline -u sensor1 --password-file pw -t devices/sensor1/bench -c 1000 --messages 10 -q 1"},
	{bench.Retained, "Retain many messages, and subscribe to all of them",
		"Publish retained messages, have one client after the other subscribe to all of them, and remove them again unless --keep says otherwise.\n" +
			"A broker may hand out retained messages at a rate (Redoubt: limits.retained_rate).",
		"  redoubt bench retained -u sensor1 --password-file pw -t devices/sensor1/bench -c 10000"},
	{bench.Rogue, "Misbehave, as a client that is known",
		"Log in as any client, and misbehave for a time: what it does to others is seen by a `redoubt bench pair --rate` beside it.\n" +
			"Whoever is closed by the broker comes again. For brokers of your own.",
		"  redoubt bench rogue -u sensor1 --password-file pw -t devices/sensor1/bench --kind unread --duration 30"},
	{bench.Flood, "Open sockets that never log in, beside clients that did",
		"Strangers that never say who they are come again whenever the broker closes; the latency of pairs beside them is told before and during.\n" +
			"For brokers of your own: the limits of Redoubt count the address you do it from (docs/limits.md).",
		"  redoubt bench flood -u sensor1 --password-file pw -t devices/sensor1/bench -c 1000 --kind half-hello"},
	{bench.Memory, "Tell what one of many takes of the broker's memory",
		"Make the broker keep a third of so many connections, subscriptions, retained messages, sessions or queued messages, and then the rest:\n" +
			"the difference of its resident memory, each time when it has settled, is what each of them takes. --pid names the broker on this machine.\n" +
			"What was made is removed at the end.",
		"  redoubt bench memory -u sensor1 --password-file pw -t devices/sensor1/bench --kind retained -c 100000 --pid $(pidof redoubt)"},
}

func benchCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a broker, and measure it",
		Long: "Put load on a broker, and measure it: connections, messages, latency, and what was lost, came twice or out of order.\n" +
			"It does so with one user; the topics are below -t, which that user has to be allowed. docs/cli-bench.md says what the figures mean.\n" + exitCodes,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, s := range benchScenarios {
		sub := &cobra.Command{Use: string(s.scenario), Short: s.short, Long: s.long, Example: s.example, Args: cobra.ArbitraryArgs}
		b := cli.NewBench(sub.Flags(), s.scenario)
		cmd.AddCommand(clientCmd(g, sub, "bench "+string(s.scenario), b.Run))
	}
	return cmd
}
