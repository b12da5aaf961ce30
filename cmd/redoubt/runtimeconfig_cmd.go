package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
)

func configSetCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "set KEY VALUE",
		Short: "Set a key of the running broker, from now on and after every start",
		Long: "Sets a key at run time. The value is judged like the file, with everything else; when the command is done, it is on disk\n" +
			"and in force, or at the next start if the key needs one. VALUE is written as in a variable: text, or YAML in one line\n" +
			"for a list. A key that is in the configuration file, the environment or a flag is pinned there and refused with its\n" +
			"place; what says where the broker listens, who may come in and where its files are belongs to the file.\n\n" + brokerHelp,
		Example:           "  redoubt config set limits.publish_rate.messages 50\n  redoubt config set mqtt.versions '[\"3.1.1\", \"5.0\"]'",
		Args:              keyAndValue,
		ValidArgsFunction: keyCompletion,
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeSetting(cmd, g, func(ctx context.Context, c *admin.Client) (admin.SettingChange, error) {
				return c.SetSetting(ctx, args[0], args[1])
			})
		},
	}
}

func configUnsetCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "unset KEY",
		Short: "Take back what config set has set",
		Long: "Takes back what was set at run time. The key has its default again, or what the file, the environment or a flag says.\n" +
			"A key that this version does not know any more can be taken back too.\n\n" + brokerHelp,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: keyCompletion,
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeSetting(cmd, g, func(ctx context.Context, c *admin.Client) (admin.SettingChange, error) {
				return c.UnsetSetting(ctx, args[0])
			})
		},
	}
}

func configGetCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "get KEY",
		Short: "Show a key of the running broker and where its value comes from",
		Long: "Shows the value in force: a default, what was set at run time with when and by whom, or what stands in the file, the\n" +
			"environment or a flag. For a section, all keys below it.\n\n" + brokerHelp,
		Example:           "  redoubt config get limits.inflight\n  redoubt config get limits.publish_rate",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: keyCompletion,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				r, err := c.Settings(ctx)
				if err != nil {
					return err
				}
				only(&r, args[0])
				if len(r.Data)+len(r.NotInForce) == 0 {
					return noSuchKey(args[0])
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), r)
				}
				return printSettings(cmd.OutOrStdout(), &r, len(r.Data) == 1 && r.Data[0].Key == args[0])
			})
		},
	}
}

// only leaves key and what is below it.
func only(r *admin.SettingsReport, key string) {
	in := func(k string) bool { return k == key || strings.HasPrefix(k, key+".") }
	all := *r
	*r = admin.SettingsReport{File: all.File, Data: []admin.Setting{}}
	for _, s := range all.Data {
		if in(s.Key) {
			r.Data = append(r.Data, s)
		}
	}
	for _, i := range all.NotInForce {
		if in(i.Key) {
			r.NotInForce = append(r.NotInForce, i)
		}
	}
}

// printSettings is one line for each key; of the one that was asked for the value comes
// first, as with log level get.
func printSettings(out io.Writer, r *admin.SettingsReport, one bool) error {
	for _, s := range r.Data {
		head := s.Key + ": "
		if one {
			head = ""
		}
		if _, err := fmt.Fprintf(out, "%s%s (%s)\n", head, plain(s.Text), plain(s.Origin)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, unsettledText(r, ""))
	return err
}

// unsettledText says what waits for a start and what is set and does not count.
func unsettledText(r *admin.SettingsReport, before string) string {
	var b strings.Builder
	for _, s := range r.Data {
		if s.Pending != nil {
			fmt.Fprintf(&b, "%spending restart: %s: %s -> %s\n", before, s.Key, plain(s.Text), plain(*s.Pending))
		}
	}
	for _, i := range r.NotInForce {
		fmt.Fprintf(&b, "%sset at run time and not in force: %s: %s: %s\n", before, plain(i.Key), plain(i.Value), plain(i.Why))
	}
	return b.String()
}

func changeSetting(cmd *cobra.Command, g *globals, do func(context.Context, *admin.Client) (admin.SettingChange, error)) error {
	return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
		r, err := do(ctx, c)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if g.Output == "json" {
			return writeConfigJSON(out, r)
		}
		if _, err := io.WriteString(out, changeText(&r)); err != nil {
			return err
		}
		for _, line := range r.Changed {
			if _, err := fmt.Fprintln(out, plain(line)); err != nil {
				return err
			}
		}
		return nil
	})
}

// changeText is one line: what a change did, and for whom or when.
func changeText(r *admin.SettingChange) string {
	when := map[string]string{string(config.Live): "", string(config.NewConnections): ", for new connections"}[r.Reload]
	if r.PendingRestart {
		when = ", from the next start on"
	}
	origin := plain(r.Origin)
	if r.PendingRestart {
		origin += "; pending restart"
	}
	return fmt.Sprintf("%s: %s -> %s%s (%s)\n", plain(r.Key), plain(r.From), plain(r.To), when, origin)
}

// keyAndValue are the arguments of config set. Whoever leaves out the value mostly wants to
// know what may stand there.
func keyAndValue(_ *cobra.Command, args []string) error {
	const usage = "redoubt config set KEY VALUE, such as redoubt config set limits.inflight 64"
	switch {
	case len(args) == 0:
		return fmt.Errorf("a key and its value are missing: %s. redoubt config show lists the keys", usage)
	case len(args) == 1:
		return fmt.Errorf("%w. What it is now: redoubt config get %s. What it may be: redoubt config explain %s", config.Lacks(args[0]), plain(args[0]), plain(args[0]))
	case len(args) > 2:
		return fmt.Errorf("%s: %d values. A list is one value in quotes, such as '[a, b]': %s", plain(args[0]), len(args)-1, usage)
	}
	return nil
}

// noSuchKey is about a key that the broker has no value for.
func noSuchKey(key string) error {
	if err := config.Known(key); err != nil {
		return fmt.Errorf("%w. redoubt config show lists all", err)
	}
	return fmt.Errorf("%s has no value on the running broker, since nothing has made its section. redoubt config show lists what has one, redoubt config explain %s says what it is", plain(key), plain(key))
}

// inForce is the configuration of the running broker. Without one that answers it is
// that of loaded, which no broker has added anything to; running tells which.
func inForce(ctx context.Context, loaded *config.Loaded, alone bool) (r admin.SettingsReport, running bool, err error) {
	if !alone {
		r, err = admin.NewClient(loaded.Config.Admin.Socket).Settings(ctx)
		var unreachable *admin.UnreachableError
		switch {
		case err == nil:
			return r, true, nil
		case !errors.As(err, &unreachable) || !unreachable.Offline(): // it runs, and this is not its configuration
			return r, true, fmt.Errorf("%w (--offline shows what the file says)", err)
		}
	}
	r.File = loaded.File
	for _, s := range loaded.Settings() {
		r.Data = append(r.Data, admin.Setting{Key: s.Key, Value: s.Value, Text: s.Text, Origin: s.Origin, Pinned: loaded.Origin(s.Key).Pinned(), Reload: string(loaded.ReloadOf(s.Key))})
	}
	return r, false, nil
}

// settingsOf are the settings of a report, for package config to show.
func settingsOf(r *admin.SettingsReport) []config.Setting {
	out := make([]config.Setting, 0, len(r.Data))
	for _, s := range r.Data {
		origin := s.Origin
		if s.Pending != nil {
			origin += "; from the next start on " + *s.Pending
		}
		out = append(out, config.Setting{Key: s.Key, Value: s.Value, Origin: origin, Text: s.Text})
	}
	return out
}
