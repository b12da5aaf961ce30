package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/pki"
)

// bundleFlags are those of cert client-bundle.
type bundleFlags struct {
	issue    issueFlags
	format   string
	host     string
	port     int
	password string // file
	ca       string // file
}

func certBundleCmd(g *globals) *cobra.Command {
	var f bundleFlags
	cmd := &cobra.Command{
		Use:   "client-bundle NAME",
		Short: "Issue a certificate and pack all a client needs into one file",
		Long: "A new key and certificate, the broker's CA, the address, a configuration for Mosquitto and a page that says what to do:\n" +
			"for the person who sets the device up. tar is one archive, dir a folder with the same files, p12 one PKCS #12 file\n" +
			"with key, certificate and CA under a password. Everything has mode 0600: who has it is the device. Send it over a\n" +
			"channel you trust, and delete it then. --out - writes to standard output, into another program and never to a terminal.\n" +
			"A device that makes its own key (cert issue device --csr, or docs/ops/enrolment.md) needs none of this.\n\n" + certHelp,
		Example: "  redoubt cert client-bundle thermometer-7 --host mqtt.example.com\n  redoubt cert client-bundle alice --format p12\n  redoubt cert client-bundle thermometer-7 --out - | ssh thermometer-7 tar -x -C /etc",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return clientBundle(cmd, g, args[0], &f) },
	}
	fs := cmd.Flags()
	fs.IntVar(&f.issue.days, "days", 90, "how many `DAYS` the certificate is valid, at most 366")
	fs.StringVar(&f.issue.out, "out", "", "the `FILE` or folder to make (default NAME.tar, NAME or NAME.p12); -: standard output")
	fs.StringVar(&f.format, "format", "tar", "tar, dir or p12")
	fs.StringVar(&f.host, "host", "", "`NAME` or address by which clients reach the broker (default the name of this host)")
	fs.IntVar(&f.port, "port", 0, "`PORT` for clients (default that of the listener that takes such certificates, or 8884)")
	fs.StringVar(&f.password, "password-file", "", "the password of a p12 is the first line of `FILE` (default one is made and shown)")
	fs.StringVar(&f.ca, "cafile", "", "`FILE` with the CA by which clients know the broker (default its own, unless the listener has certificates of another)")
	return cmd
}

func clientBundle(cmd *cobra.Command, g *globals, name string, f *bundleFlags) error {
	if err := builtin.CheckName(name); err != nil {
		return err
	}
	life, err := f.issue.life(1)
	if err != nil {
		return err
	}
	suffix, known := map[string]string{"tar": ".tar", "dir": "", "p12": ".p12"}[f.format]
	switch {
	case !known:
		return &usageError{fmt.Errorf("--format %q: it is tar, dir or p12", f.format)}
	case f.password != "" && f.format != "p12":
		return &usageError{errors.New("--password-file is for --format p12")}
	case f.issue.out == "-" && f.format == "dir":
		return &usageError{errors.New("--out -: a folder cannot be written to standard output; choose tar")}
	case f.issue.out == "-" && terminal(cmd):
		return errors.New("a private key is not written to a terminal: it would stay in what can be scrolled back; give --out a file, or pipe it into a program")
	case f.issue.out == "":
		f.issue.out = fileName(name) + suffix
	}
	d, c, err := g.devices()
	if err != nil {
		return err
	}
	b := &pki.Bundle{Host: f.host, Port: f.port}
	listener := deviceListener(c)
	if b.Port == 0 {
		b.Port = listener.port
	}
	if b.Host == "" {
		if b.Host, err = os.Hostname(); err != nil {
			return fmt.Errorf("the name of this host: %w; say it with --host", err)
		}
	}
	if _, err := pki.ParseNames([]string{b.Host}); err != nil {
		return &usageError{fmt.Errorf("--host: %w", err)}
	}
	if f.ca == "" && listener.builtinCA {
		f.ca = pki.CAFile(c.Node.DataDir)
	}
	if f.ca != "" {
		if b.CA, err = pki.ReadGuarded(f.ca); err != nil {
			return fmt.Errorf("the broker's CA: %w", err)
		}
	}
	return packBundle(cmd, g, name, life, d, b, f)
}

// terminal tells whether standard output is one.
func terminal(cmd *cobra.Command) bool {
	out, ok := cmd.OutOrStdout().(*os.File)
	return ok && term.IsTerminal(int(out.Fd()))
}

// packBundle issues the certificate and packs it.
func packBundle(cmd *cobra.Command, g *globals, name string, life time.Duration, d *pki.Devices, b *pki.Bundle, f *bundleFlags) (err error) {
	password, made := secret.Value{}, false
	if f.format == "p12" {
		if password, made, err = bundlePassword(f.password); err != nil {
			return err
		}
	}
	var target *pki.Package
	if f.issue.out != "-" {
		if target, err = pki.NewPackage(f.issue.out, f.format == "dir"); err != nil {
			return err
		}
	}
	if b.Issued, err = d.Issue(clock.System{}.Now(), pki.Order{Name: name, Life: life}); err != nil {
		if target != nil {
			target.Drop()
		}
		return err
	}
	var data secret.Value
	switch f.format {
	case "tar":
		data, err = b.Tar()
	case "p12":
		data, err = b.PKCS12(password)
	case "dir":
		err = target.Folder(b)
	}
	switch {
	case err != nil:
	case target == nil:
		_, err = cmd.OutOrStdout().Write(data.Reveal())
	case f.format != "dir":
		err = target.Write(b, data)
	}
	if err != nil {
		return err
	}
	return sayBundle(cmd, g, b, f, password, made)
}

// bundlePassword is the first line of a file, or a new one.
func bundlePassword(file string) (p secret.Value, made bool, err error) {
	if file == "" {
		return secret.New([]byte(rand.Text())), true, nil
	}
	b, err := pki.ReadSecret(file)
	if err != nil {
		return p, false, fmt.Errorf("--password-file: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	if b = bytes.TrimRight(line, "\r"); len(b) < 8 {
		return p, false, errors.New("--password-file: the password has fewer than 8 bytes, and whoever finds the file can try as many as he likes")
	}
	return secret.New(b), false, nil
}

// sayBundle says what was made; on standard error if the bundle is on standard output.
func sayBundle(cmd *cobra.Command, g *globals, b *pki.Bundle, f *bundleFlags, password secret.Value, made bool) error {
	out := cmd.OutOrStdout()
	if f.issue.out == "-" {
		out = cmd.ErrOrStderr()
	}
	shown := ""
	if made {
		shown = string(password.Reveal())
	}
	if g.Output == "json" {
		return writeConfigJSON(out, struct {
			pki.DeviceCert
			File     string `json:"file"`
			Password string `json:"password,omitempty"`
		}{b.Issued.DeviceCert, f.issue.out, shown})
	}
	fmt.Fprintf(out, "Certificate %s is issued to %q, valid until %s, for %s port %d.\n", b.Issued.Serial, b.Issued.Name, date(b.Issued.NotAfter), b.Host, b.Port)
	if made {
		fmt.Fprintf(out, "  password  %s (shown once; send it another way than the file)\n", shown)
	}
	if f.issue.out == "-" {
		return nil
	}
	_, err := fmt.Fprintf(out, "  bundle    %s (with the private key: delete it when the device has it)\n", f.issue.out)
	return err
}

// taker is what clients need to know of the listener that takes certificates of devices.
type taker struct {
	port      int
	builtinCA bool // its certificate is of the broker's own CA
}

func deviceListener(c *config.Config) taker {
	t := taker{port: 8884, builtinCA: true}
	if found := deviceListeners(c); len(found) > 0 {
		l := c.Listeners[found[0]]
		t.builtinCA = len(l.TLS.Certificates) == 0
		if len(l.Bind) > 0 {
			if b, err := config.ParseBind(l.Bind[0]); err == nil {
				t.port = int(b.Port)
			}
		}
	}
	return t
}
