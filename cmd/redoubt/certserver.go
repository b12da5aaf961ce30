package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/pki"
)

// servers is what issues certificates of the broker's own CA.
func (g *globals) servers() (*pki.Servers, *config.Config, error) {
	loaded, err := g.LookConfig()
	if err != nil {
		return nil, nil, err
	}
	s, err := pki.OpenServers(loaded.Config.Node.DataDir)
	return s, loaded.Config, err
}

func certIssueServerCmd(g *globals) *cobra.Command {
	var f issueFlags
	cmd := &cobra.Command{
		Use:   "server NAME...",
		Short: "Issue a certificate of the broker's own CA to a server",
		Long: "For another listener, a load balancer or a second host, whose clients have this broker's ca.pem already. The names are\n" +
			"host names and IP addresses, all that clients connect to: they compare letter by letter. The files are called after\n" +
			"the first one. The broker's own listeners need none: their certificate is made and renewed by itself.\n" +
			"This CA has no revocation list. A key that is lost is good for whoever has it until the certificate expires.\n\n" + certHelp,
		Example: "  redoubt cert issue server mqtt.example.com 192.0.2.7\n  redoubt cert issue server edge-2.example.com --csr edge-2.csr --days 30",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			life, err := f.life(1)
			if err != nil {
				return err
			}
			s, c, err := g.servers()
			if err != nil {
				return err
			}
			public, err := f.public(cmd)
			if err != nil {
				return err
			}
			if _, err := pki.ParseNames(args); err != nil { // before files are made that are called so
				return &usageError{err}
			}
			files, err := pki.NewHandover(f.out, fileName(args[0]), public == nil)
			if err != nil {
				return err
			}
			out, err := s.Issue(clock.System{}.Now(), args, life, public)
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
			printServer(cmd.OutOrStdout(), out, files)
			key := files.KeyFile
			if key == "" {
				key = out.Name + ".key"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "In a listener of Redoubt:\n  tls:\n    certificates: [{cert: %q, key: %q}]\nClients need %s.\n",
				files.CertFile, "file:"+key, datadir.Quote(pki.CAFile(c.Node.DataDir)))
			return err
		},
	}
	f.add(cmd, 90, "")
	return cmd
}

// fileName is a name as files are called.
func fileName(name string) string {
	return strings.NewReplacer("*", "_", ":", "_").Replace(strings.ToLower(strings.TrimSuffix(name, ".")))
}

func printServer(w io.Writer, out *pki.IssuedDevice, files *pki.Handover) {
	fmt.Fprintf(w, "Certificate %s is issued for %s, valid until %s.\n", out.Serial, strings.ReplaceAll(out.Names, " ", ", "), date(out.NotAfter))
	printFiles(w, out, files)
}

// printFiles says where what was issued is.
func printFiles(w io.Writer, out *pki.IssuedDevice, files *pki.Handover) {
	if out.Short {
		fmt.Fprintln(w, "It ends with its CA, before the time that was asked for.")
	}
	fmt.Fprintf(w, "  certificate  %s\n", files.CertFile)
	if files.KeyFile != "" {
		fmt.Fprintf(w, "  key          %s\n", files.KeyFile)
	}
}
