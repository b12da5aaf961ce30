package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/tokens"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

func tokenCmd(g *globals) *cobra.Command {
	return group("token", "Revoke tokens (JWT) of clients",
		"Tokens of clients (authn.jwt): which are not good any more, although they have not expired. A revocation closes the clients that\n"+
			"it hits within two seconds and survives a restart. docs/ops/jwt.md says more.\n\n"+brokerHelp,
		tokenRevokeCmd(g), tokenListCmd(g), tokenRestoreCmd(g))
}

// tokenKind is what a command is about: JTI, or --subject.
func tokenKind(args []string, subject string) (as, who string, err error) {
	switch {
	case len(args) == 1 && subject != "":
		return "", "", &usageError{errors.New("JTI and --subject both say which tokens: give one of them")}
	case len(args) == 1 && args[0] != "":
		return tokens.ByID, args[0], nil
	case subject != "":
		return tokens.BySubject, subject, nil
	}
	return "", "", &usageError{errors.New("say which tokens: JTI, or --subject NAME")}
}

func tokenRevokeCmd(g *globals) *cobra.Command {
	var r admin.NewRevocation
	var subject, forText string
	cmd := &cobra.Command{
		Use:   "revoke [JTI]",
		Short: "Revoke a token, or all of somebody that are older than a time",
		Long: "Revokes the token with this name (its claim jti), or with --subject those of an identity that were made (iat) before --before;\n" +
			"without --before that is now. Tokens of that identity without iat count as older. Clients that are connected with one are\n" +
			"closed, and their wills are not published.\n\n" +
			"--until says when all tokens that it is about have expired, so that it can be forgotten; without it, it is kept.\n\n" + brokerHelp,
		Example: "  redoubt token revoke 8f14e45f --for 24h --reason 'ticket 4711'\n  redoubt token revoke --subject pump-7\n" +
			"  redoubt token revoke --subject pump-7 --before 2027-03-31T12:00:00Z",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.As, r.Who, err = tokenKind(args, subject); err != nil {
				return err
			}
			now := clock.System{}.Now()
			switch {
			case r.As == tokens.ByID && r.Before != "":
				return &usageError{errors.New("--before goes with --subject")}
			case r.As == tokens.BySubject && r.Before == "":
				r.Before = bans.TimeText(now.Unix() + 1) // iat has whole seconds, and one of now is meant, too
			}
			if forText != "" {
				if r.Until != "" {
					return &usageError{errors.New("--for and --until both say when it ends: give one of them")}
				}
				lasts, err := config.ParseSpan(forText)
				if err != nil {
					return &usageError{fmt.Errorf("--for %q %w", forText, err)}
				}
				if lasts <= 0 {
					return &usageError{fmt.Errorf("--for %v: a revocation has to last", lasts)}
				}
				r.Until = bans.TimeText(now.Add(lasts + time.Second - 1).Unix())
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				done, err := c.RevokeTokens(ctx, &r)
				if err != nil {
					return err
				}
				done, err = readBack(func(fn func(*admin.RevocationInfo) error) error {
					return c.EachRevokedToken(ctx, nil, fn)
				}, func(is *admin.RevocationInfo) bool {
					return is.As == done.As && is.Who == done.Who && is.Before == done.Before
				})
				if err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), done)
				}
				what := "token " + plain(done.Who) + " is revoked"
				if done.As == tokens.BySubject {
					what = "tokens of " + plain(done.Who) + " that were made before " + done.Before + " are revoked"
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", what, revocationEnd(done.Until))
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&subject, "subject", "", "all tokens of this identity `NAME` that are older than --before")
	f.StringVar(&r.Before, "before", "", "made before this `TIME`, such as 2027-03-31T12:00:00Z; without it: now")
	f.StringVar(&r.Reason, "reason", "", "why, as `TEXT` for whoever reads the list or the log")
	f.StringVar(&forText, "for", "", "how long it is kept, as `DURATION` such as 24h or 30d: as long as such tokens last")
	f.StringVar(&r.Until, "until", "", "until when it is kept, as `TIME`")
	return cmd
}

func revocationEnd(until string) string {
	if until == bans.Infinity {
		return "until it is taken back"
	}
	return "until " + until
}

func tokenListCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List what was revoked",
		Long:    "Lists the revocations that are not over, by kind and name.\n\n" + brokerHelp,
		Example: "  redoubt token list\n  redoubt token list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd, g, []string{"KIND", "WHO", "BEFORE", "UNTIL", "MADE", "BY", "REASON"}, (*admin.Client).EachRevokedToken, admin.Filter{}, func(r *admin.RevocationInfo) []string {
				return []string{r.As, r.Who, r.Before, r.Until, r.At, r.By, r.Reason}
			})
		},
	}
}

func tokenRestoreCmd(g *globals) *cobra.Command {
	var subject string
	cmd := &cobra.Command{
		Use:     "restore [JTI]",
		Short:   "Take a revocation back",
		Long:    "Takes a revocation back: such tokens are good again, until they expire.\n\n" + brokerHelp,
		Example: "  redoubt token restore 8f14e45f\n  redoubt token restore --subject pump-7",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			as, who, err := tokenKind(args, subject)
			if err != nil {
				return err
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				if err := c.RestoreTokens(ctx, as, who); err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), map[string]string{"restored": who, "as": as})
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s is not revoked any more\n", as, plain(who))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&subject, "subject", "", "the revocation of this identity `NAME`")
	return cmd
}
