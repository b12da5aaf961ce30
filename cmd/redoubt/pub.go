package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/redoubtmq/redoubt/client/cli"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// exitCodes is the promise of docs/cli-pub-sub.md, for the help.
const exitCodes = `
Exit codes: 0 ok, 1 refused or failed, 2 usage, 3 cannot connect, 4 TLS,
5 not authorized or bad credentials, 27 timed out (-W).`

func pubCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pub -t TOPIC (-m TEXT | -f FILE | -s | -l | -n)",
		Short: "Publish messages",
		Long: "Publish messages, by TLS and MQTT 5.0 unless told otherwise.\n" +
			"The short flags are mosquitto_pub's; -h is the host.\n" + exitCodes,
		Example: "  redoubt pub -u sensor1 --password-file pw -t devices/sensor1/temp -m 21.5 -q 1\n" +
			"  tail -f log | redoubt pub -u sensor1 -t devices/sensor1/log -l -D publish content-type text/plain",
		Args: cobra.ArbitraryArgs, // the values of -D
	}
	pub := cli.NewPub(cmd.Flags())
	return clientCmd(g, cmd, "pub", pub.Run)
}

// clientCmd finishes a command of package cli.
func clientCmd(g *globals, cmd *cobra.Command, name string, run func(context.Context, []string, cli.Defaults, cli.IO) error) *cobra.Command {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.UsageError(name, err, clientIO(g, cmd))
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop) // a second signal ends the process at once
		defaults, err := clientDefaults(g)
		if err != nil {
			return err
		}
		return run(ctx, args, defaults, clientIO(g, cmd))
	}
	return cmd
}

func clientIO(g *globals, cmd *cobra.Command) cli.IO {
	return cli.IO{
		Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
		Terminal: term.IsTerminal(int(os.Stdout.Fd())), Watched: term.IsTerminal(int(os.Stderr.Fd())), JSON: g.Output == "json",
		Clock: clock.System{}, ProcessID: os.Getpid(),
	}
}

// clientDefaults are the CA of the data directory, if this user can read it, and
// the password in the environment.
func clientDefaults(g *globals) (d cli.Defaults, err error) {
	if p, ok := os.LookupEnv("REDOUBT_PASSWORD"); ok {
		d.Password, d.HasPassword = secret.FromString(p), true
	}
	dir := g.DataDir
	if dir == "" {
		loaded, err := g.LookConfig()
		switch {
		case err == nil:
			dir = loaded.Config.Node.DataDir
		case g.ConfigFile != "":
			return d, err
		default: // the broker's own file may be unreadable or wrong; a client can do without
			return d, nil
		}
	}
	ca := filepath.Join(dir, "certs", "ca.pem")
	if f, err := os.Open(ca); err == nil {
		_ = f.Close()
		d.CAFile = ca
	}
	return d, nil
}
