package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/pki"
)

func certRenewCmd(g *globals) *cobra.Command {
	var f renewFlags
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "Get or issue the next certificate of who has one",
		Long: "With --server, --cert and --key it is for the device: when two thirds of the life of its certificate have passed it asks\n" +
			"the broker for the next one, by the one before, and puts the new pair in the place of the old. Before that it does\n" +
			"nothing, so that a timer can run it every few hours; -o json says whether it did (renewed). A crash in the middle is\n" +
			"mended by the next run.\n" +
			"The commands below are for the operator, who has the CA.\n\n" + enrolCodes,
		Example: "  redoubt cert renew --server https://broker.example:8443 --cafile ca.pem --cert dev-1.pem --key dev-1.key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.at.url == "" {
				if f.files.Cert != "" || f.files.Key != "" {
					return &usageError{errors.New("--server is missing: which broker is asked?")}
				}
				return cmd.Help()
			}
			return renewHere(cmd, g, &f)
		},
	}
	f.add(cmd)
	cmd.AddCommand(certRenewDeviceCmd(g), certRenewServerCmd(g))
	return cmd
}

// renewLong is what both kinds of renewal say of the files.
const renewLong = "Writes NAME.new.pem and, unless --csr is given, NAME.new.key. Both replace those there are, together, and whoever uses\n" +
	"them reads them again. What has expired or was revoked is not renewed: issue a certificate if there is to be one again.\n"

func certRenewDeviceCmd(g *globals) *cobra.Command {
	var f issueFlags
	cmd := &cobra.Command{
		Use:   "device NAME",
		Short: "Issue the next certificate to a device",
		Long: renewLong + "The certificate before stays valid until it expires, so that a device that did not get the new one is not locked out;\n" +
			"the command says how to revoke it when the device has changed over.\n\n" + certHelp,
		Example: "  redoubt cert renew device thermometer-7\n  ssh thermometer-7 cat device.csr | redoubt cert renew device thermometer-7 --csr -",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := builtin.CheckName(args[0]); err != nil {
				return err
			}
			life, err := f.life(0)
			if err != nil {
				return err
			}
			d, _, err := g.devices()
			if err != nil {
				return err
			}
			order := pki.Order{Name: args[0], Life: life}
			if order.Public, err = f.public(cmd); err != nil {
				return err
			}
			return renewed(cmd, g, args[0], &f, order.Public == nil, func() (*pki.IssuedDevice, pki.DeviceCert, error) {
				return d.Renew(clock.System{}.Now(), order)
			}, fmt.Sprintf("It counts until %%s. When the device has changed over, it can be taken back:\n  %s cert revoke %%s --reason superseded\n", self(g)))
		},
	}
	f.add(cmd, 0, " (default as the one before)")
	return cmd
}

func certRenewServerCmd(g *globals) *cobra.Command {
	var f issueFlags
	cmd := &cobra.Command{
		Use:   "server NAME",
		Short: "Issue the next certificate to a server, for the same names",
		Long: renewLong + "NAME is the first of its names; redoubt cert list --servers has them. A running broker reads the files of its\n" +
			"listeners by itself.\n\n" + certHelp,
		Example: "  redoubt cert renew server mqtt.example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := pki.ParseNames(args); err != nil {
				return &usageError{err}
			}
			life, err := f.life(0)
			if err != nil {
				return err
			}
			s, _, err := g.servers()
			if err != nil {
				return err
			}
			public, err := f.public(cmd)
			if err != nil {
				return err
			}
			return renewed(cmd, g, fileName(args[0]), &f, public == nil, func() (*pki.IssuedDevice, pki.DeviceCert, error) {
				return s.Renew(clock.System{}.Now(), args[0], life, public)
			}, "It counts until %s, and nothing takes it back (certificate %s).\n")
		},
	}
	f.add(cmd, 0, " (default as the one before)")
	return cmd
}

// renewed makes the files, has a certificate issued and says what to do with it. last is
// said of the certificate before, with the end of its time and its serial number.
func renewed(cmd *cobra.Command, g *globals, file string, f *issueFlags, withKey bool, issue func() (*pki.IssuedDevice, pki.DeviceCert, error), last string) error {
	files, err := pki.NewHandover(f.out, file+".new", withKey)
	if err != nil {
		return err
	}
	out, before, err := issue()
	if err != nil {
		files.Drop()
		return err
	}
	if err := files.Fill(out); err != nil {
		return err
	}
	if g.Output == "json" {
		return writeIssued(cmd.OutOrStdout(), out, files)
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "Certificate %s is issued to %q, valid until %s, after %s.\n", out.Serial, out.Name, date(out.NotAfter), before.Serial)
	printFiles(w, out, files)
	what := "this certificate"
	if withKey {
		what = "both files, together"
	}
	_, err = fmt.Fprintf(w, "Next: put %s in the place of the old; the certificate before is not touched.\n"+last, what, date(before.NotAfter), before.Serial)
	return err
}
