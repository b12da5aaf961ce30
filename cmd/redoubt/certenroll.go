package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/client/enroll"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/pki"
)

// enrolCodes is what both commands of a device say of their exit codes.
const enrolCodes = "It needs no configuration and no data directory: it runs on the device.\n" +
	"Exit codes: 0 done, 1 failed (try again later), 2 usage, 3 the server refuses (another try ends the same)."

// serverFlags are where a device asks.
type serverFlags struct{ url, ca string }

func (f *serverFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "server", "", "the `URL` of the port for enrolment, https://HOST:PORT")
	cmd.Flags().StringVar(&f.ca, "cafile", "", "`FILE` with the CA by which the broker is known (default those of the system)")
}

func (f *serverFlags) server() (*enroll.Server, error) {
	u, err := enroll.ParseURL(f.url)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--server: %w", err)}
	}
	s := &enroll.Server{URL: u}
	if f.ca != "" {
		b, err := pki.ReadGuarded(f.ca)
		if err != nil {
			return nil, fmt.Errorf("--cafile: %w", err)
		}
		if s.Roots = x509.NewCertPool(); !s.Roots.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("--cafile: there is no certificate in %s (PEM)", f.ca)
		}
	}
	return s, nil
}

// enrolError has the exit code of a refusal that is final.
type enrolError struct {
	error
	final bool // whatever the error says
}

func (e enrolError) Unwrap() error { return e.error }

// ExitCode is 3 where another try ends the same.
func (e enrolError) ExitCode() int {
	var r *enroll.Refused
	if e.final || errors.As(e.error, &r) && r.Final() {
		return 3
	}
	return 1
}

func certEnrollCmd(g *globals) *cobra.Command {
	var at serverFlags
	var name, token, out string
	var claim enroll.Files
	cmd := &cobra.Command{
		Use:   "enroll",
		Short: "Get this device its first certificate from a broker",
		Long: "Makes a key, which does not leave the device, shows the token that redoubt cert token has made, and writes NAME.key\n" +
			"(mode 0600) and NAME.pem. What is there is not overwritten. With --claim-cert and --claim-key it shows a claim\n" +
			"certificate in place of a token.\n\n" + enrolCodes,
		Example: "  redoubt cert enroll --server https://broker.example:8443 --cafile ca.pem --name thermometer-7 --token-file token --out /etc/mqtt",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := builtin.CheckName(name); err != nil {
				return &usageError{fmt.Errorf("--name: %w", err)}
			}
			if byClaim := claim.Cert != "" && claim.Key != ""; (token == "") != byClaim || !byClaim && claim != (enroll.Files{}) {
				return &usageError{errors.New("give --token-file, or --claim-cert and --claim-key")}
			}
			s, err := at.server()
			if err != nil {
				return err
			}
			key, err := enroll.NewKey()
			if err != nil {
				return fmt.Errorf("make the key: %w", err)
			}
			var shows *tls.Certificate
			var text secret.Value
			if token == "" {
				if shows, err = claim.Load(); err != nil {
					return err
				}
			} else if text, err = readToken(cmd.InOrStdin(), token); err != nil {
				return err
			}
			files := enroll.In(out, name)
			if err := files.Begin(key); err != nil {
				return err
			}
			var x *x509.Certificate
			if now := (clock.System{}).Now(); shows != nil {
				x, err = s.WithClaim(cmd.Context(), now, name, shows, key)
			} else {
				x, err = s.WithToken(cmd.Context(), now, name, text, key)
			}
			return enrolled(cmd, g, files, x, key, err)
		},
	}
	at.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&name, "name", "", "the `NAME` of this device, which the token is for")
	fs.StringVar(&token, "token-file", "", "`FILE` with the token, which nobody else may read; -: standard input")
	fs.StringVar(&claim.Cert, "claim-cert", "", "`FILE` with a claim certificate")
	fs.StringVar(&claim.Key, "claim-key", "", "`FILE` with its key")
	fs.StringVar(&out, "out", ".", "`FOLDER` for the files")
	return cmd
}

// readToken is the first line of a file, or of standard input.
func readToken(in io.Reader, file string) (secret.Value, error) {
	if file == "-" {
		token, err := readPassword(in, io.Discard)
		if errors.Is(err, errNoPassword) {
			return secret.Value{}, errors.New("--token-file: standard input holds no token; redoubt cert token, on the broker, makes one")
		}
		return token, err
	}
	b, err := pki.ReadSecret(file)
	if err != nil {
		return secret.Value{}, fmt.Errorf("--token-file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return secret.Value{}, fmt.Errorf("--token-file: %s begins with an empty line and holds no token; redoubt cert token, on the broker, makes one", file)
	}
	return secret.New([]byte(line)), nil
}

// enrolled keeps what came, and says so.
func enrolled(cmd *cobra.Command, g *globals, files enroll.Files, x *x509.Certificate, key crypto.Signer, err error) error {
	if err != nil {
		files.Drop()
		return enrolError{err, false}
	}
	if err := files.Done(x, key); err != nil {
		return fmt.Errorf("certificate %x was issued and could not be kept: %w", x.SerialNumber, err)
	}
	return sayEnrolled(cmd, g, files, x, true)
}

func sayEnrolled(cmd *cobra.Command, g *globals, files enroll.Files, x *x509.Certificate, renewed bool) error {
	due := pki.RenewAt(x)
	if g.Output == "json" {
		return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"name": x.Subject.CommonName, "serial": fmt.Sprintf("%x", x.SerialNumber), "not_after": x.NotAfter,
			"due": due, "renewed": renewed, "certificate": files.Cert, "key": files.Key})
	}
	if !renewed {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "The certificate of %q is valid until %s and due on %s; nothing was done.\n", x.Subject.CommonName, date(x.NotAfter), date(due))
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%q has certificate %x, valid until %s; the next one is due on %s.\n  certificate  %s\n  key          %s\n",
		x.Subject.CommonName, x.SerialNumber, date(x.NotAfter), date(due), files.Cert, files.Key)
	return err
}

// renewFlags are those of cert renew on a device.
type renewFlags struct {
	at    serverFlags
	files enroll.Files
	force bool
	keep  bool
}

func (f *renewFlags) add(cmd *cobra.Command) {
	f.at.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.files.Cert, "cert", "", "`FILE` with the certificate of this device")
	fs.StringVar(&f.files.Key, "key", "", "`FILE` with its key; the same file, if both are in one")
	fs.BoolVar(&f.force, "force", false, "also before two thirds of its life have passed")
	fs.BoolVar(&f.keep, "keep-key", false, "with the key there is, where it cannot be another")
}

// renewHere renews the certificate of this device if it is due.
func renewHere(cmd *cobra.Command, g *globals, f *renewFlags) error {
	if f.files.Cert == "" || f.files.Key == "" {
		return &usageError{errors.New("--server renews the certificate of this device: give --cert and --key, too")}
	}
	s, err := f.at.server()
	if err != nil {
		return err
	}
	before, err := f.files.Load()
	if err != nil {
		return err
	}
	now := clock.System{}.Now()
	if !f.force && now.Before(pki.RenewAt(before.Leaf)) {
		return sayEnrolled(cmd, g, f.files, before.Leaf, false)
	}
	if now.After(before.Leaf.NotAfter.Add(time.Minute)) {
		return enrolError{fmt.Errorf("the certificate in %s expired on %s, and renews nothing any more: enrol anew, with a token", f.files.Cert, date(before.Leaf.NotAfter)), true}
	}
	key, ok := before.PrivateKey.(crypto.Signer)
	if !ok || !f.keep {
		if key, err = enroll.NewKey(); err != nil {
			return fmt.Errorf("make the key: %w", err)
		}
	}
	if err := f.files.Stage(key); err != nil { // before there is a certificate for it
		return err
	}
	x, err := s.Renew(cmd.Context(), now, before, key)
	return enrolled(cmd, g, f.files, x, key, err)
}
