package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

func aclCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "acl",
		Short: "Ask what the rules say, show them, and change the built-in ones",
		Long: "The rules in force: who may publish and subscribe to what. They are read from authz.rules_file, and the built-in ones, which\n" +
			"come after those (authz.order), are made here. docs/ops/rules.md says more.\n\n" + brokerHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(aclTestCmd(g), aclShowCmd(g), aclLintCmd(g), aclDiffCmd(g), aclSuggestCmd(g), aclAddCmd(g), aclListCmd(g), aclDeleteCmd(g), aclRefreshCmd(g), aclImportCmd())
	return cmd
}

// denied is the verdict of acl test as an exit code; it was printed already.
type denied struct{}

func (denied) Error() string  { return "denied" }
func (denied) Reported() bool { return true }
func (denied) ExitCode() int  { return 1 }

// unsure is the exit code of who cannot tell; what was found was printed already.
type unsure struct{}

func (unsure) Error() string  { return "unknown" }
func (unsure) Reported() bool { return true }
func (unsure) ExitCode() int  { return 2 }

func aclTestCmd(g *globals) *cobra.Command {
	var q admin.AccessQuery
	cmd := &cobra.Command{
		Use:   "test --user NAME publish|subscribe|receive TOPIC",
		Short: "Say whether a client may, and which rule decides",
		Long: "Asks the rules in force, without connecting and without changing anything.\n" +
			"publish and receive take a topic name, subscribe a topic filter; receive is the delivery of one message to a subscriber.\n" +
			"Rules that come with a client when it connects (claims, or a back end of authz.order) are not asked; where they could decide, the answer\n" +
			"is unknown: `redoubt why CLIENT publish|subscribe TOPIC` knows them for a client with a session.\n" +
			"\n" + answerHelp("0 allowed, 1 denied or failed, 2 unknown or usage"),
		Example: "  redoubt acl test --user alice publish devices/alice/temperature\n" +
			"  redoubt acl test --user alice --client pump-1 --address 192.0.2.7 subscribe 'devices/+/temperature' --qos 1",
		Args:      cobra.ExactArgs(2),
		ValidArgs: []string{"publish", "subscribe", "receive"},
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Action, q.Topic = args[0], args[1]
			if err := checkQuery(&q); err != nil {
				return &usageError{err}
			}
			client, err := adminClient(g)
			if err != nil {
				return err
			}
			v, err := client.Check(cmd.Context(), q)
			if err != nil {
				return err
			}
			if err := printVerdict(cmd, g, &v); err != nil {
				return err
			}
			switch v.Result {
			case "allow":
				return nil
			case "unknown":
				return unsure{}
			}
			return denied{}
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Username, "user", "", "user `NAME` the client proved (required)")
	f.StringVar(&q.ClientID, "client", "", "client identifier")
	f.StringVar(&q.IPAddress, "address", "", "IP address of the client")
	f.IntVar(&q.QoS, "qos", 0, "quality of service: of the message, or asked for by the subscription")
	f.BoolVar(&q.Retain, "retain", false, "the message is to be retained (publish)")
	return cmd
}

// checkQuery says what is wrong with a command line before anybody is asked.
func checkQuery(q *admin.AccessQuery) error {
	switch {
	case q.Username == "":
		return fmt.Errorf("--user is missing: the rules are about who asks")
	case q.Action != "publish" && q.Action != "subscribe" && q.Action != "receive":
		return fmt.Errorf("%q: write publish, subscribe or receive, then the topic", q.Action)
	case q.Topic == "":
		return fmt.Errorf("the topic is empty")
	case q.QoS < 0 || q.QoS > 2:
		return fmt.Errorf("--qos %d: it is 0, 1 or 2", q.QoS)
	}
	return nil
}

func printVerdict(cmd *cobra.Command, g *globals, v *admin.AccessVerdict) error {
	out := cmd.OutOrStdout()
	if g.Output == "json" {
		return writeConfigJSON(out, v)
	}
	text := v.Result
	if v.Partly {
		text += ", with every delivery checked"
	}
	without := ""
	if v.Result == "unknown" {
		without = "without that: "
	}
	text += fmt.Sprintf("\n  %s%s: %s\n", without, v.Rule.Place(), v.Rule.Text)
	if v.Note != "" {
		text += "  " + v.Note + "\n"
	}
	_, err := fmt.Fprint(out, text)
	return err
}
