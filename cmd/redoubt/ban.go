package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

const banKinds = "KIND is clientid, username, peerhost (an address), peerhost_net (a network, 192.0.2.0/24), clientid_re or username_re\n" +
	"(a regular expression, RE2, that matches anywhere: bind it with ^ and $). "

func banCmd(g *globals) *cobra.Command {
	return group("ban", "Shut clients, users and addresses out",
		"Bans: who is shut out, and until when. A new one closes what it hits within two seconds; the wills of those clients are not\n"+
			"published. Bans survive a restart. docs/ops/bans.md says more.\n\n"+brokerHelp,
		banAddCmd(g), banListCmd(g), banDeleteCmd(g), banImportCmd(g), banExportCmd(g))
}

func banAddCmd(g *globals) *cobra.Command {
	var b admin.NewBan
	var forText string
	cmd := &cobra.Command{
		Use:   "add KIND WHO",
		Short: "Shut somebody out",
		Long: "Shuts somebody out from now on, and closes what they have open. " + banKinds +
			"\nAddresses are refused before a handshake; clients and users when they have proved who they are, with the reason banned.\n" +
			"One of the same kind, name and identity is replaced.\n\n" + brokerHelp,
		Example: "  redoubt ban add clientid pump-7 --reason 'stolen, ticket 4711'\n  redoubt ban add peerhost_net 192.0.2.0/24 --for 24h\n" +
			"  redoubt ban add clientid_re '^scan-[0-9]+$' --until 2027-03-31T12:00:00Z\n  redoubt ban add clientid pump-7 --identity acme",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.As, b.Who = args[0], args[1]
			for _, text := range []string{b.Who, b.Identity, b.Reason} { // JSON would say something else
				if !utf8.ValidString(text) {
					return &usageError{fmt.Errorf("%q is not UTF-8", text)}
				}
			}
			if b.Who == "" {
				return &usageError{errors.New("WHO is empty: name somebody")}
			}
			if cmd.Flags().Changed("for") {
				if cmd.Flags().Changed("until") {
					return &usageError{errors.New("--for and --until both say when it ends: give one of them")}
				}
				lasts, err := config.ParseSpan(forText)
				if err != nil {
					return &usageError{fmt.Errorf("--for %q %w", forText, err)}
				}
				if lasts <= 0 {
					return &usageError{fmt.Errorf("--for %v: a ban has to last", lasts)}
				}
				b.Until = bans.TimeText(clock.System{}.Now().Add(lasts + time.Second - 1).Unix())
			}
			if _, err := bans.ParseAs(b.As); err != nil {
				return &usageError{err}
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				added, err := c.AddBan(ctx, &b)
				if err != nil {
					return err
				}
				added.BanInfo, err = readBack(func(fn func(*admin.BanInfo) error) error {
					return c.EachBan(ctx, admin.Filter{"as": added.As, "source": "operator"}, fn)
				}, func(is *admin.BanInfo) bool { return is.Row == added.Row })
				if err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), added)
				}
				what := "is banned"
				if added.Replaced {
					what = "was banned already; the new ban replaces the old one:"
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s %s\n", added.As, plain(added.Who), what, banEnd(added.Until))
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&b.Reason, "reason", "", "why, as `TEXT` for whoever reads the list or the log")
	f.StringVar(&b.Identity, "identity", "", "of a clientid: within this identity `NAME` only")
	f.StringVar(&forText, "for", "", "how long, as `DURATION` such as 90m, 24h or 30d; without it and --until it lasts until it is deleted")
	f.StringVar(&b.Until, "until", "", "until when, as `TIME` such as 2027-03-31T12:00:00Z")
	f.BoolVar(&b.Force, "force", false, "also if it would hit nearly everybody, an address of this machine, or a proxy of a listener")
	return cmd
}

// banEnd is the end of a ban for people.
func banEnd(until string) string {
	if until == bans.Infinity {
		return "until it is deleted"
	}
	return "until " + until
}

func banListCmd(g *globals) *cobra.Command {
	var as, who, by, source string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the bans",
		Long: "Lists the bans that are not over, by kind and name, and then those that the broker has made for flapping.\n" +
			strings.ReplaceAll(listHelp, ", in no order", ""),
		Example: "  redoubt ban list\n  redoubt ban list --by flapping",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if as != "" {
				if _, err := bans.ParseAs(as); err != nil {
					return &usageError{err}
				}
			}
			if source != "" && !slices.Contains(bans.SourceNames[:], source) {
				return &usageError{fmt.Errorf("--source %q: it is operator, file or flapping", source)}
			}
			f := admin.Filter{}
			set(f, "as", as)
			set(f, "like_who", who)
			set(f, "by", by)
			set(f, "source", source)
			return list(cmd, g, []string{"KIND", "WHO", "WITHIN", "UNTIL", "MADE", "BY", "SOURCE", "REASON"}, (*admin.Client).EachBan, f, func(b *admin.BanInfo) []string {
				return []string{b.As, b.Who, strings.TrimSpace(b.Identity + " " + b.Network), b.Until, b.At, b.By, b.Source, b.Reason}
			})
		},
	}
	cmd.Flags().StringVar(&as, "kind", "", "only this `KIND`")
	cmd.Flags().StringVar(&who, "who", "", "only names that hold this `TEXT`")
	cmd.Flags().StringVar(&by, "by", "", "only bans made by this `NAME`, such as 'uid 0' or flapping")
	cmd.Flags().StringVar(&source, "source", "", "only bans from there: operator, file or flapping")
	return cmd
}

func banDeleteCmd(g *globals) *cobra.Command {
	var identity, network string
	cmd := &cobra.Command{
		Use:   "delete KIND WHO",
		Short: "Let somebody in again",
		Long: "Deletes a ban. " + banKinds + "\nWhere several bans of one client identifier are there, --identity or --network says which;\n" +
			"--identity '' is the one within no identity. What bans.file bans is changed there.\n\n" + brokerHelp,
		Example: "  redoubt ban delete clientid pump-7\n  redoubt ban delete peerhost_net 192.0.2.0/24",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := bans.ParseAs(args[0]); err != nil {
				return &usageError{err}
			}
			f := admin.Filter{}
			set(f, "network", network)
			if set(f, "identity", identity); cmd.Flags().Changed("identity") && identity == "" {
				f["any_identity"] = "true"
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				if err := c.DeleteBan(ctx, args[0], args[1], f); err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), map[string]string{"deleted": args[1], "as": args[0]})
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s is banned no more\n", args[0], plain(args[1]))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&identity, "identity", "", "the ban within this identity `NAME`")
	cmd.Flags().StringVar(&network, "network", "", "the ban for who comes from this `NETWORK`")
	return cmd
}

func banImportCmd(g *globals) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add the bans of a file",
		Long: "Adds the bans of a file, all of them or none: JSON if its name ends in .json, else CSV with the columns as, who, reason, at,\n" +
			"until, by and identity, of which the first line names those that are there. It takes what ban export writes, and what EMQX\n" +
			"does. - is standard input, as CSV. Bans of the same kind, name and identity are replaced; rows that are over are left out.\n\n" + brokerHelp,
		Example: "  redoubt ban import blocked.csv",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var data []byte
			var err error
			name := args[0]
			if name == "-" {
				name = "standard input"
				data, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), bans.FileBytesMax+1))
			} else {
				data, err = readBanFile(name)
			}
			if err != nil {
				return err
			}
			if len(data) == 0 {
				return fmt.Errorf("%s is empty: the first line of CSV names the columns, such as as,who; an empty list of JSON is []", name)
			}
			if len(data) > bans.FileBytesMax {
				return fmt.Errorf("%s has more than %d bytes", name, bans.FileBytesMax)
			}
			if len(name) > 256 {
				name = name[len(name)-256:]
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				done, err := c.ImportBans(ctx, name, data, force)
				if err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), done)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d bans imported, of which %d replace another; %d rows were over\n", done.Added, done.Replaced, done.Over)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also with bans that would hit nearly everybody, an address of this machine, or a proxy of a listener")
	return cmd
}

func banExportCmd(g *globals) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the bans as a file",
		Long: "Writes the bans that operators have made to standard output, in the shape that ban import, bans.file and EMQX take. Those of\n" +
			"bans.file are in that file, and those for flapping are soon over: neither is written.\n\n" + brokerHelp,
		Example: "  redoubt ban export > bans.csv\n  redoubt ban export --format json > bans.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "csv" && format != "json" {
				return &usageError{fmt.Errorf("--format %q: it is csv or json", format)}
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				w, err := bans.NewWriter(cmd.OutOrStdout(), format == "json" || g.Output == "json")
				if err != nil {
					return err
				}
				if err := c.EachBan(ctx, admin.Filter{"source": bans.FromOperator.String()}, func(b *admin.BanInfo) error { return w.Add(&b.Row) }); err != nil {
					return err
				}
				return w.End()
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "csv", "csv or json")
	return cmd
}
