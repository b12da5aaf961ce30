package main

import (
	"crypto"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/pki"
)

// certHelp is what every command says that works on the CA of devices.
const certHelp = "It works on the data directory itself, as its owner, whether or not the broker runs."

func certCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Give devices certificates, take them back, and see what is wrong with one",
		Long: "Certificates in place of passwords. The CA of devices is another one than that of the broker's own certificate.\n" +
			"docs/ops/client-certificates.md shows a listener for them, from beginning to end.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	ca := &cobra.Command{
		Use:   "ca",
		Short: "Make the CA of devices",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	ca.AddCommand(certInitCmd(g))
	issue := &cobra.Command{
		Use:   "issue",
		Short: "Issue a certificate",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	issue.AddCommand(certIssueCmd(g), certIssueServerCmd(g))
	cmd.AddCommand(ca, issue, certRenewCmd(g), certTokenCmd(g), certEnrollCmd(g), certBundleCmd(g), certListCmd(g), certRevokeCmd(g), certDenyCmd(g), certAllowCmd(g), certCRLCmd(g), certLintCmd(g))
	return cmd
}

func certInitCmd(g *globals) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the CA of devices",
		Long: "Makes a CA whose certificates let devices in, and an empty revocation list, in <data_dir>/certs/devices.\n" +
			"ECDSA P-256, valid for ten years; what is there is never replaced. Whoever has ca.key can let in anybody:\n" +
			"keep a backup of the folder where you keep keys.\n\n" + certHelp,
		Example: "  redoubt cert ca init\n  redoubt cert ca init --name 'Plant 7 devices'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := g.LookConfig()
			if err != nil {
				return err
			}
			c := loaded.Config
			d, err := pki.InitDevices(c.Node.DataDir, name, clock.System{}.Now())
			if err != nil {
				return err
			}
			ca, list := pki.DevicesCA(c.Node.DataDir), pki.DevicesList(c.Node.DataDir)
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"ca": ca, "crl": list, "name": d.CA().Subject.CommonName, "not_after": d.CA().NotAfter})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The CA of devices is ready: %q, valid until %s.\n  CA    %s\n  list  %s (the running broker keeps it fresh)\n",
				d.CA().Subject.CommonName, date(d.CA().NotAfter), ca, list)
			if len(deviceListeners(c)) == 0 {
				fmt.Fprint(cmd.OutOrStdout(), listenerSection(c))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Next: %s cert issue device thermometer-7\n", self(g))
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the `TEXT` that certificates say as their issuer's name (default \"Redoubt device CA\" and a number)")
	return cmd
}

// devices is the CA of devices of the configured data directory.
func (g *globals) devices() (*pki.Devices, *config.Config, error) {
	loaded, err := g.LookConfig()
	if err != nil {
		return nil, nil, err
	}
	d, err := pki.OpenDevices(loaded.Config.Node.DataDir)
	return d, loaded.Config, err
}

// issueFlags are the flags of commands that issue a certificate.
type issueFlags struct {
	days    int
	out     string
	request string
}

// add gives a command these flags; days is what is issued without a word.
func (f *issueFlags) add(cmd *cobra.Command, days int, daysText string) {
	fs := cmd.Flags()
	fs.IntVar(&f.days, "days", days, "how many `DAYS` it is valid, at most 366"+daysText)
	fs.StringVar(&f.out, "out", ".", "`FOLDER` for the files")
	fs.StringVar(&f.request, "csr", "", "sign the request (PKCS #10) in `FILE` in place of making a key; -: from standard input")
}

// life is what --days says; 0 days are as long as the certificate before.
func (f *issueFlags) life(least int) (time.Duration, error) {
	if most := int(pki.DeviceLifeMax.Hours()) / 24; f.days < least || f.days > most {
		return 0, &usageError{fmt.Errorf("--days %d: it is 1 to %d", f.days, most)}
	}
	return time.Duration(f.days) * 24 * time.Hour, nil
}

// public is the key in the signing request; nil: one is to be made.
func (f *issueFlags) public(cmd *cobra.Command) (crypto.PublicKey, error) {
	switch f.request {
	case "":
		return nil, nil
	case "-":
		b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), pki.RequestBytesMax+1))
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return pki.ParseRequest(b, "standard input")
	default:
		return pki.LoadRequest(f.request)
	}
}

func certIssueCmd(g *globals) *cobra.Command {
	var f issueFlags
	cmd := &cobra.Command{
		Use:   "device NAME",
		Short: "Issue a certificate to a device",
		Long: "Writes NAME.pem, the certificate, and NAME.key, the private key, which nobody else has: move both to the device and\n" +
			"delete them here. Better still the device makes its key itself: --csr takes the public key from a signing request and\n" +
			"nothing else. The device is the user NAME. It gets a new certificate in the same way before this one expires; the\n" +
			"old one stays valid until it expires or is revoked.\n\n" + certHelp,
		Example: "  redoubt cert issue device thermometer-7\n  redoubt cert issue device thermometer-7 --csr thermometer-7.csr --days 30\n  ssh thermometer-7 cat device.csr | redoubt cert issue device thermometer-7 --csr -",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return issueDevice(cmd, g, args[0], &f) },
	}
	f.add(cmd, 90, "")
	return cmd
}

func issueDevice(cmd *cobra.Command, g *globals, name string, f *issueFlags) error {
	if err := builtin.CheckName(name); err != nil {
		return err
	}
	life, err := f.life(1)
	if err != nil {
		return err
	}
	d, c, err := g.devices()
	if err != nil {
		return err
	}
	order := pki.Order{Name: name, Life: life}
	if order.Public, err = f.public(cmd); err != nil {
		return err
	}
	files, err := pki.NewHandover(f.out, name, order.Public == nil)
	if err != nil {
		return err
	}
	out, err := d.Issue(clock.System{}.Now(), order)
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
	return printIssued(cmd.OutOrStdout(), c, out, files)
}

func writeIssued(w io.Writer, out *pki.IssuedDevice, files *pki.Handover) error {
	return writeConfigJSON(w, struct {
		pki.DeviceCert
		Certificate string `json:"certificate"`
		Key         string `json:"key,omitempty"`
	}{out.DeviceCert, files.CertFile, files.KeyFile})
}

func printIssued(w io.Writer, c *config.Config, out *pki.IssuedDevice, files *pki.Handover) error {
	fmt.Fprintf(w, "Certificate %s is issued to %q, valid until %s.\n", out.Serial, out.Name, date(out.NotAfter))
	if out.Short {
		fmt.Fprintln(w, "It ends with the CA of devices, before the time that was asked for.")
	}
	fmt.Fprintf(w, "  certificate  %s\n", files.CertFile)
	key := files.KeyFile
	if key == "" {
		key = out.Name + ".key"
	} else {
		fmt.Fprintf(w, "  key          %s\n", key)
	}
	found := deviceListeners(c)
	if len(found) == 0 {
		_, err := fmt.Fprintf(w, "No listener takes it yet.\n%s", listenerSection(c))
		return err
	}
	l := c.Listeners[found[0]]
	port := "8884"
	if len(l.Bind) > 0 {
		if b, err := config.ParseBind(l.Bind[0]); err == nil {
			port = fmt.Sprint(b.Port)
		}
	}
	ca := ""
	if len(l.TLS.Certificates) == 0 {
		ca = " --cafile " + datadir.Quote(pki.CAFile(c.Node.DataDir))
	}
	_, err := fmt.Fprintf(w, "Try it:\n  mosquitto_pub -h localhost -p %s%s --cert %s --key %s -t %s -m 21.5\n", port, ca,
		datadir.Quote(files.CertFile), datadir.Quote(key), datadir.Quote("devices/"+out.Name+"/temp"))
	return err
}

// deviceListeners are the listeners that take certificates of the CA of devices, by name;
// those for MQTT over TLS first.
func deviceListeners(c *config.Config) (names []string) {
	var web []string
	for _, name := range sortedKeys(c.Listeners) {
		t := c.Listeners[name].TLS
		switch {
		case t.ClientCert == string(pki.ClientCertNone) || !hasFile(t.ClientCA, pki.DevicesCA(c.Node.DataDir)):
		case c.Listeners[name].Protocol == config.ProtocolMQTTS:
			names = append(names, name)
		default:
			web = append(web, name)
		}
	}
	return append(names, web...)
}

// hasFile tells whether a file is in a list, by whatever path.
func hasFile(list []string, file string) bool {
	info, err := os.Stat(file)
	return err == nil && slices.ContainsFunc(list, func(other string) bool {
		o, err := os.Stat(other)
		return err == nil && os.SameFile(info, o)
	})
}

// listenerSection is the part of a configuration that takes certificates of the CA of
// devices, to be pasted.
func listenerSection(c *config.Config) string {
	path := func(p string) string {
		if abs, err := filepath.Abs(p); err == nil {
			p = abs
		}
		return fmt.Sprintf("%q", p)
	}
	return fmt.Sprintf(`A listener for devices, in the configuration file (restart the broker afterwards):
  listeners:
    devices:
      protocol: mqtts
      bind: [":8884"]
      authn: certificates
      tls:
        client_cert: required
        client_ca: [%s]
        crl: {files: [%s]}
  authn:
    chains: {default: [builtin], certificates: [x509]}
`, path(pki.DevicesCA(c.Node.DataDir)), path(pki.DevicesList(c.Node.DataDir)))
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
