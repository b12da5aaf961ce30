package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/auth/builtin/userfile"
	"github.com/redoubtmq/redoubt/config"
)

func userImportCmd(g *globals) *cobra.Command {
	var q admin.UserImport
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add the users of a file, with the hashes of another program",
		Long: "Adds the users of a file, all or none: CSV or JSON with EMQX's columns user_id, password_hash, salt and is_superuser (or password\n" +
			"instead of the hash), or a password file of Mosquitto. - is standard input. Users log in with the passwords they have; at the\n" +
			"first login the hash becomes argon2id. Hashes say how they were made (argon2id, bcrypt, scrypt, pbkdf2, Mosquitto's $6$ and\n" +
			"$7$); those of EMQX do not, and --algorithm says it. docs/ops/users.md says more.\n\n" + brokerHelp,
		Example: "  redoubt user import /etc/mosquitto/passwd --dry-run\n  redoubt user import users.csv --algorithm sha256 --salt-position prefix",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Format != "" && !slices.Contains(userfile.Formats, q.Format) {
				return &usageError{fmt.Errorf("--format %q: it is csv, json or mosquitto", q.Format)}
			}
			if q.Existing != builtin.ExistingFails && q.Existing != builtin.ExistingStays && q.Existing != builtin.ExistingIsLost {
				return &usageError{fmt.Errorf("--existing %q: it is fail, skip or update", q.Existing)}
			}
			file, err := readUserFile(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			q.Name = args[0]
			if len(q.Name) > 256 {
				q.Name = q.Name[len(q.Name)-256:]
			}
			return withUsers(cmd, g, func(users admin.Users, _ *config.Config) error {
				p, err := users.Import(cmd.Context(), &q, file)
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				if g.Output == "json" {
					err = writeConfigJSON(cmd.OutOrStdout(), p)
				} else {
					err = printImport(cmd.OutOrStdout(), args[0], &p, q.DryRun)
				}
				if err == nil && p.Failed > 0 {
					err = fmt.Errorf("%d of %d users could not be imported", p.Failed, p.Total)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Format, "format", "", "csv, json or mosquitto (default: by the name of the file, then by how it begins)")
	f.StringVar(&q.Algorithm, "algorithm", "auto", "how the hashes were made: auto, argon2id, bcrypt, scrypt, pbkdf2, sha512, sha256, sha or md5")
	f.StringVar(&q.SaltPosition, "salt-position", "", "of sha512, sha256, sha and md5: prefix, suffix or disable (default prefix)")
	f.StringVar(&q.Encoding, "encoding", "", "of hashes that do not say it: hex or base64 (default hex)")
	f.StringVar(&q.MAC, "mac", "", "of pbkdf2 that does not say it: sha256 or sha512 (default sha256)")
	f.IntVar(&q.Iterations, "iterations", 0, "of pbkdf2 that does not say them")
	f.StringVar(&q.Existing, "existing", builtin.ExistingFails, "what becomes of users who exist with another password: fail, skip or update")
	f.BoolVar(&q.AllowWeak, "allow-weak", false, "take hashes of sha and md5, which are kept as they are until the user's next login")
	f.BoolVar(&q.IgnoreSuperuser, "ignore-superuser", false, "import superusers as users; there are no superusers here")
	f.BoolVar(&q.SCRAM, "scram", false, "everybody gets SCRAM keys at the next login with a password")
	f.BoolVar(&q.KeepGoing, "keep-going", false, "import the others if some fail")
	f.BoolVar(&q.DryRun, "dry-run", false, "tell what would happen, and change nothing")
	return cmd
}

// readUserFile reads a file, or standard input, as far as one may be long.
func readUserFile(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, userfile.BytesMax+1))
	if err == nil && len(b) > userfile.BytesMax {
		err = fmt.Errorf("%s has more than %d bytes; split it", name, userfile.BytesMax)
	}
	return b, err
}

// printImport says what an import did, with the users that failed.
func printImport(out io.Writer, name string, p *builtin.ImportReport, dry bool) error {
	for _, f := range p.Failures {
		who := ""
		if f.User != "" {
			who = plain(f.User) + ": "
		}
		if _, err := fmt.Fprintf(out, "%s:%d: %s%s\n", name, f.Line, who, f.Reason); err != nil {
			return err
		}
	}
	if more := p.Failed - len(p.Failures); more > 0 {
		if _, err := fmt.Fprintf(out, "... and %d more\n", more); err != nil {
			return err
		}
	}
	what := ""
	switch {
	case dry:
		what = " Nothing was changed: this was a dry run."
	case !p.Applied && p.Failed > 0:
		what = " Nothing was changed: it is all or none (--keep-going imports the others)."
	case !p.Applied:
		what = " Nothing was to be changed."
	}
	_, err := fmt.Fprintf(out, "%d users: %d created, %d updated, %d skipped, %d failed. %d have a hash of another program until their next login.%s\n",
		p.Total, p.Created, p.Updated, p.Skipped, p.Failed, p.Foreign, what)
	return err
}

func userExportCmd(g *globals) *cobra.Command {
	var format, file string
	var hashes bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the users as a file",
		Long: "Writes the users as CSV or JSON with EMQX's columns. Without --include-hashes it is a list: who there is, and how and when the\n" +
			"passwords were set. With it, it is what user import takes, here or on another node, and a secret: who has it can guess at\n" +
			"passwords. Then --file is needed (- is standard output); it must not exist, and is for its owner only. Keys of SCRAM are not\n" +
			"exported.\n\n" + brokerHelp,
		Example: "  redoubt user export\n  redoubt user export --include-hashes --file users.csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != userfile.CSV && format != userfile.JSON {
				return &usageError{fmt.Errorf("--format %q: it is csv or json", format)}
			}
			if hashes && file == "" {
				return &usageError{errors.New("--include-hashes wants --file: hashes on a screen stay in its history (--file - says that you mean it)")}
			}
			asJSON := format == userfile.JSON || g.Output == "json"
			return withUsers(cmd, g, func(users admin.Users, _ *config.Config) error {
				rows, listed, err := exported(cmd.Context(), users, hashes)
				if err != nil {
					return err
				}
				write := func(out io.Writer) error {
					switch {
					case hashes && asJSON:
						return userfile.WriteJSON(out, rows)
					case hashes:
						return userfile.WriteCSV(out, rows)
					case asJSON:
						return userfile.WriteJSON(out, listed)
					}
					return userfile.WriteListedCSV(out, listed)
				}
				if file == "" || file == "-" {
					return write(cmd.OutOrStdout())
				}
				f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return err
				}
				return errors.Join(write(f), f.Close())
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", userfile.CSV, "csv or json")
	f.StringVar(&file, "file", "", "write to this `FILE` instead of standard output")
	f.BoolVar(&hashes, "include-hashes", false, "with the hashes of passwords")
	return cmd
}

// exported walks every page of an export. rows are empty without hashes.
func exported(ctx context.Context, users admin.Users, hashes bool) (rows []userfile.Row, listed []userfile.Listed, err error) {
	rows, listed = []userfile.Row{}, []userfile.Listed{}
	for q := (admin.UserExport{Page: 1, Limit: 1000, Hashes: hashes}); ; q.Page++ {
		page, err := users.Export(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		for i := range page.Data {
			u := &page.Data[i]
			if u.Hash != nil {
				rows = append(rows, userfile.Row{UserID: u.UserID, Hash: string(u.Hash.Reveal())})
			}
			listed = append(listed, userfile.Listed{
				UserID: u.UserID, Kind: u.PasswordKind, Algorithm: u.HashAlgorithm,
				CreatedAt: u.CreatedAt.UTC().Format(time.RFC3339), ChangedAt: u.ChangedAt.UTC().Format(time.RFC3339),
			})
		}
		if !page.Meta.HasNext {
			return rows, listed, nil
		}
	}
}
