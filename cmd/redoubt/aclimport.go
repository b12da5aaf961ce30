package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/importer"
	"github.com/redoubtmq/redoubt/internal/safefile"
)

func aclImportCmd() *cobra.Command {
	var from, to string
	var dry bool
	cmd := &cobra.Command{
		Use:   "import --from mosquitto|emqx FILE",
		Short: "Make a rules file of another broker's rules",
		Long: "Reads an acl_file of Mosquitto or an acl.conf of EMQX and prints a rules file that allows no more than it did. No broker is needed, and\n" +
			"nothing is put in force: authz.rules_file is. Each rule says the file and line it is from, and where it is judged otherwise than before; these\n" +
			"notes are on standard error, too. What no rule can say is an error with file and line, and then nothing is imported.\n\n" +
			"docs/ops/rules.md says what is read and what differs. Exit code: 0 imported, 1 refused or failed, 2 usage.",
		Example: "  redoubt acl import --from mosquitto /etc/mosquitto/acl\n" +
			"  redoubt acl import --from emqx /etc/emqx/acl.conf --out rules.yaml && redoubt acl lint rules.yaml",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var read func(string, []byte) (*importer.Result, error)
			switch from {
			case "mosquitto":
				read = importer.Mosquitto
			case "emqx":
				read = importer.EMQX
			default:
				return &usageError{fmt.Errorf("--from %q: write mosquitto, for an acl_file, or emqx, for an acl.conf", from)}
			}
			data, err := readSmall(args[0], importer.BytesMax)
			if err != nil {
				return err
			}
			made, err := read(args[0], data)
			if err != nil {
				return fmt.Errorf("nothing was imported:\n%w", err)
			}
			for _, n := range made.Notes {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s:%d: %s\n", plain(args[0]), n.Line, plain(n.Text))
			}
			said := fmt.Sprintf("%d rules, %d notes", made.Rules, len(made.Notes))
			switch {
			case dry:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s; nothing was written\n", said)
				return err
			case to == "":
				_, err = cmd.OutOrStdout().Write(made.Text)
				return err
			}
			if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
				if err == nil {
					err = fmt.Errorf("%s is there already; move it away, or write to another name", to)
				}
				return err
			}
			if err := safefile.Write(to, made.Text, 0o640); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s, in %s. Next: redoubt acl lint %s\n", said, plain(to), plain(to))
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "whose file it is, `mosquitto|emqx` (required)")
	f.StringVar(&to, "out", "", "write it to `FILE`, which must not be there, and not to standard output")
	f.BoolVar(&dry, "dry-run", false, "say what would be imported, and write nothing")
	return cmd
}
