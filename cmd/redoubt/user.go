package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/pki"
)

// brokerHelp is what every command says that talks to a running broker, and has no exit codes
// of its own.
const brokerHelp = socketHelp + "Exit codes: 0 done, 1 refused or failed, 2 usage, 3 broker not reachable."

const socketHelp = "It asks the broker over the administration socket (admin.socket), as the user the broker runs as or as root.\n"

// answerHelp is brokerHelp of a command whose exit code is an answer: codes are what 0, 1 and
// 2 mean.
func answerHelp(codes string) string {
	return socketHelp + "Exit codes: " + codes + ", 3 broker not reachable."
}

// passwordBytesMax bounds what is read as a password; what is too long for one is
// told by whoever stores it.
const passwordBytesMax = 4096

func userCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Add, list, delete, import and export users, set their passwords",
		Long: "Users of the built-in authenticator: who may connect. What they may do is in the rules file.\n" +
			"Without a running broker these commands work on the data directory itself, as its owner.\n\n" + brokerHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(userAddCmd(g), userListCmd(g), userPasswdCmd(g), userDeleteCmd(g), userImportCmd(g), userExportCmd(g))
	return cmd
}

func userAddCmd(g *globals) *cobra.Command {
	return userSetCmd(g, &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user",
		Long: "Adds a user. Without --password-stdin a secret of 160 random bits is generated, shown once and stored as a hash:\n" +
			"the right choice for devices. People choose a password, which is stored as argon2id. With --scram the user gets keys for SCRAM,\n" +
			"with which clients of MQTT 5 log in without sending the password.\n\n" + brokerHelp,
		Example: "  redoubt user add thermometer-7\n  pass show mqtt/alice | redoubt user add alice --password-stdin",
	}, "is added", admin.Users.Add)
}

func userPasswdCmd(g *globals) *cobra.Command {
	return userSetCmd(g, &cobra.Command{
		Use:   "passwd NAME",
		Short: "Give a user another password",
		Long: "Replaces a user's password, as user add sets it. What the user has open with the old one is closed. Who has keys for SCRAM gets\n" +
			"new ones, unless --scram=false takes them away.\n\n" +
			brokerHelp,
	}, "has a new password", admin.Users.SetPassword)
}

// userSetCmd is what adding a user and changing a password have in common.
func userSetCmd(g *globals, cmd *cobra.Command, done string, set func(admin.Users, context.Context, string, secret.Value, ...builtin.Extra) (admin.User, error)) *cobra.Command {
	var stdin, scram bool
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "take the password from standard input (its first line) instead of generating one")
	cmd.Flags().BoolVar(&scram, "scram", false, "with keys for SCRAM-SHA-256 and SCRAM-SHA-512, as authn.scram says")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var p secret.Value
		if stdin {
			var err error
			if p, err = readPassword(cmd.InOrStdin(), cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		var with []builtin.Extra
		if cmd.Flags().Changed("scram") {
			with = []builtin.Extra{builtin.WithoutSCRAM}
			if scram {
				with[0] = builtin.WithSCRAM
			}
		}
		return withUsers(cmd, g, func(users admin.Users, c *config.Config) error {
			u, err := set(users, cmd.Context(), args[0], p, with...)
			if err != nil {
				return err
			}
			if u, err = readUser(cmd.Context(), users, u); err != nil {
				return err
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), u)
			}
			return printUser(cmd.OutOrStdout(), u, done, c)
		})
	}
	return cmd
}

func userListCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the users",
		Long: "Lists the users by name, and how and when their passwords were made. One that is imported has the hash of another program until\n" +
			"its next login; SCRAM says for which mechanisms there are keys.\n\n" + brokerHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withUsers(cmd, g, func(users admin.Users, _ *config.Config) error {
				all, err := admin.AllUsers(cmd.Context(), users)
				if err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), map[string]any{"data": all})
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
				fmt.Fprintln(w, "NAME\tPASSWORD\tHASH\tSCRAM\tADDED\tPASSWORD SET")
				for _, u := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.UserID, u.PasswordKind, u.HashAlgorithm, cmp.Or(u.SCRAM, "-"), u.CreatedAt.UTC().Format("2006-01-02 15:04"), u.ChangedAt.UTC().Format("2006-01-02 15:04"))
				}
				return w.Flush()
			})
		},
	}
}

func userDeleteCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a user",
		Long:  "Deletes a user. What the user has open is closed.\n\n" + brokerHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withUsers(cmd, g, func(users admin.Users, _ *config.Config) error {
				if err := users.Delete(cmd.Context(), args[0]); err != nil {
					return err
				}
				if g.Output == "json" {
					return writeConfigJSON(cmd.OutOrStdout(), map[string]string{"deleted": args[0]})
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "user %q deleted\n", args[0])
				return err
			})
		},
	}
}

// withUsers hands over the users of the running broker, or of the data directory
// when none runs.
func withUsers(cmd *cobra.Command, g *globals, do func(admin.Users, *config.Config) error) error {
	loaded, err := g.LookConfig()
	if err != nil {
		return err
	}
	c := loaded.Config
	users, _, done, err := admin.OpenUsers(cmd.Context(), c.Admin.Socket, func() (admin.Users, func(), error) {
		return offlineUsers(c, cmd.ErrOrStderr())
	})
	if err != nil {
		return err
	}
	defer done()
	return do(users, c)
}

// readPassword takes one line; a person is asked for it, without showing it.
func readPassword(in io.Reader, prompt io.Writer) (secret.Value, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(prompt, "Password: ")
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(prompt)
		if err != nil {
			return secret.Value{}, fmt.Errorf("read the password: %w", err)
		}
		return notEmpty(b)
	}
	line, err := bufio.NewReader(io.LimitReader(in, passwordBytesMax)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return secret.Value{}, fmt.Errorf("read the password from standard input: %w", err)
	}
	return notEmpty([]byte(strings.TrimRight(string(line), "\r\n")))
}

var errNoPassword = errors.New("standard input holds no password; leave --password-stdin out to have one generated")

// notEmpty keeps an empty line from meaning "generate one".
func notEmpty(b []byte) (secret.Value, error) {
	if len(b) == 0 {
		return secret.Value{}, errNoPassword
	}
	return secret.New(b), nil
}

// printUser shows a generated secret, this once, as a line that can be pasted
// before the command that uses it. It is indented so that shells set to leave
// such lines out of their history do.
func printUser(out io.Writer, u admin.User, done string, c *config.Config) error {
	if u.Password == nil {
		_, err := fmt.Fprintf(out, "user %q %s\n", u.UserID, done)
		return err
	}
	_, err := fmt.Fprintf(out, "user %q %s. The password was generated and is shown only now:\n\n    PASSWORD='%s'\n\nTry it; paste the line above and then this one:\n\n    %s\n",
		u.UserID, done, u.Password.Reveal(), subscribeCommand(c, u.UserID))
	return err
}

// subscribeCommand is what a newcomer types next: the first TLS listener, the
// user, and the topics the shipped rules give that user.
func subscribeCommand(c *config.Config, user string) string {
	args := []string{"mosquitto_sub"}
	for _, name := range sortedKeys(c.Listeners) {
		l := c.Listeners[name]
		if l.Plaintext() || l.Protocol == config.ProtocolQUIC || len(l.Bind) == 0 {
			continue // mosquitto_sub speaks no QUIC
		}
		host, port := "localhost", "8883"
		if b, err := config.ParseBind(l.Bind[0]); err == nil {
			port = fmt.Sprint(b.Port)
			if b.Addr.IsValid() && !b.Addr.IsUnspecified() && b.Addr != netip.MustParseAddr("127.0.0.1") {
				host = b.Addr.String()
			}
		}
		args = append(args, "-h", host, "-p", port)
		if len(l.TLS.Certificates) == 0 {
			args = append(args, "--cafile", datadir.Quote(pki.CAFile(c.Node.DataDir)))
		}
		break
	}
	args = append(args, "-u", datadir.Quote(user), "-P", `"$PASSWORD"`, "-t", datadir.Quote("devices/"+user+"/#"), "-v")
	return strings.Join(args, " ")
}
