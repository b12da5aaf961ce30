package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

func certDenyCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "deny ID|FILE",
		Short: "Refuse a certificate of any CA at once, without a revocation list",
		Long: "Puts a certificate on the list certificates.denied of the running broker: it lets nobody in any more on any listener,\n" +
			"and who is connected with it is out within seconds. A denied CA denies all that it has issued. It holds from now on and\n" +
			"after every start, and it tells no other broker: revoke the certificate at its CA, too.\n\n" +
			"ID is serial: and the serial number, which counts for every issuer, or sha256: and the fingerprint. Of a FILE it is the\n" +
			"fingerprint of its first certificate.\n\n" + brokerHelp,
		Example: "  redoubt cert deny serial:4b0d3f61\n  redoubt cert deny thermometer-7.pem",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := denialOf(args[0])
			if err != nil {
				return err
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				r, err := c.AddSettingEntry(ctx, deniedKey, id)
				if err != nil {
					return err
				}
				what := "is denied now; who is connected with it is out within seconds"
				if r.From == r.To {
					what = "was denied already"
				}
				return sayDenial(cmd, g, &r, id, what)
			})
		},
	}
}

func certAllowCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "allow ID|FILE",
		Short: "Take back what cert deny did",
		Long: "Takes a certificate off the list certificates.denied of the running broker. Whether it lets somebody in is decided by the\n" +
			"rest again: its CA, its time and the revocation lists. The list: redoubt config get " + deniedKey + "\n\n" + brokerHelp,
		Example: "  redoubt cert allow serial:4b0d3f61",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := denialOf(args[0])
			if err != nil {
				return err
			}
			return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
				r, err := c.RemoveSettingEntry(ctx, deniedKey, id)
				if err != nil {
					return err
				}
				return sayDenial(cmd, g, &r, id, "is not denied any more")
			})
		},
	}
}

func sayDenial(cmd *cobra.Command, g *globals, r *admin.SettingChange, id, what string) error {
	if g.Output == "json" {
		return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"id": id, "denied": r.To})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s (%s)\n", id, what, plain(r.Origin))
	return err
}

// bare is a number or a fingerprint without the word before it.
var bare = regexp.MustCompile(`^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2})*$`)

// denialOf is the entry that an argument means.
func denialOf(arg string) (string, error) {
	if strings.HasPrefix(arg, "serial:") || strings.HasPrefix(arg, "sha256:") {
		return revoke.DenialID(arg)
	}
	id, err := pki.CertificateID(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist) && bare.MatchString(arg):
		kind := "serial:"
		if len(strings.ReplaceAll(arg, ":", "")) == 64 {
			kind = "sha256:"
		}
		return "", fmt.Errorf("%s is no file. If it is meant as it stands: %s%s", plain(arg), kind, arg)
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s is no file with a certificate, and no ID: that is serial: or sha256: and hexadecimal digits, as redoubt cert list and openssl x509 have them", plain(arg))
	}
	return id, err
}
