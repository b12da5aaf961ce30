package main

import (
	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/client/cli"
)

func subCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sub -t FILTER...",
		Short: "Subscribe and print messages",
		Long: "Subscribe and print messages, by TLS and MQTT 5.0 unless told otherwise.\n" +
			"The short flags are mosquitto_sub's; -h is the host.\n" + exitCodes,
		Example: "  redoubt sub -u sensor1 --password-file pw -t 'devices/sensor1/#' -v\n" +
			"  redoubt sub -u sensor1 --password-file pw -t devices/sensor1/cmd -q 1 -C 1 -W 10 -o json",
		Args: cobra.ArbitraryArgs, // the values of -D
	}
	sub := cli.NewSub(cmd.Flags())
	return clientCmd(g, cmd, "sub", sub.Run)
}
