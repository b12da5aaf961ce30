package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/client/cli"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

func main() {
	root := &cobra.Command{Use: "redoubt", SilenceErrors: true, SilenceUsage: true}
	out := root.PersistentFlags().StringP("output", "o", "text", "")
	root.PersistentFlags().String("data-dir", "", "")
	cio := func() cli.IO {
		return cli.IO{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, JSON: *out == "json", Clock: clock.System{}, ProcessID: os.Getpid()}
	}
	mk := func(name string) *cobra.Command {
		c := &cobra.Command{Use: name, Args: cobra.ArbitraryArgs}
		var run func(context.Context, []string, cli.Defaults, cli.IO) error
		if name == "pub" {
			run = cli.NewPub(c.Flags()).Run
		} else {
			run = cli.NewSub(c.Flags()).Run
		}
		c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return cli.UsageError(name, err, cio()) })
		c.RunE = func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			d := cli.Defaults{CAFile: os.Getenv("CA")}
			if p, ok := os.LookupEnv("REDOUBT_PASSWORD"); ok {
				d.Password, d.HasPassword = secret.FromString(p), true
			}
			return run(ctx, args, d, cio())
		}
		return c
	}
	root.AddCommand(mk("pub"), mk("sub"))
	if err := root.Execute(); err != nil {
		if e, ok := err.(interface{ ExitCode() int }); ok {
			os.Exit(e.ExitCode())
		}
		println(err.Error())
		os.Exit(99)
	}
}
