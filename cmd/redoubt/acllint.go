package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/advice"
	"github.com/redoubtmq/redoubt/auth/rules"
)

// flawed is the verdict of acl lint as an exit code; it was printed already.
type flawed struct{}

func (flawed) Error() string  { return "the rules have errors" }
func (flawed) Reported() bool { return true }
func (flawed) ExitCode() int  { return 1 }

func aclLintCmd(g *globals) *cobra.Command {
	var whose oneSession
	var client string
	var strict bool
	cmd := &cobra.Command{
		Use:   "lint [FILE | --client ID]",
		Short: "Say what is odd about rules: never reached, too broad, mistyped",
		Long: "Looks at a rules file, which needs no broker, or without FILE at the rules file and the built-in rules of the running broker, or with\n" +
			"--client at all rules that are about the client of a session, those of back ends included. It says which rules are never reached\n" +
			"because others decide before, which give more than is usually meant, and which look like those of another broker, with file and line\n" +
			"and what to do. Where a condition could make a difference it says that it cannot tell.\n" +
			"Of the configuration the listeners and limits.topic_levels are looked at.\n" +
			"\n" + answerHelp("0 no errors, 1 errors, with --strict also warnings, or failed, 2 usage"),
		Example: "  redoubt acl lint /etc/redoubt/rules.yaml --strict\n  redoubt acl lint\n  redoubt acl lint --client pump-7",
	}
	whose.register(cmd)
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.Flags().StringVar(&client, "client", "", "client identifier `ID` of a session")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings make the exit code 1, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		end := func(found *admin.RuleFindings) error {
			if err := printFindings(cmd.OutOrStdout(), g, found); err != nil {
				return err
			}
			if found.Errors > 0 || strict && found.Warnings > 0 {
				return flawed{}
			}
			return nil
		}
		if len(args) == 1 {
			if client != "" {
				return &usageError{errors.New("a file or --client: give one of them")}
			}
			found, err := lintFile(g, args[0])
			if err != nil {
				return err
			}
			return end(found)
		}
		return withBroker(cmd, g, func(ctx context.Context, c *admin.Client) error {
			found, err := c.Lint(ctx, whose.ref(cmd, client))
			if err != nil {
				return err
			}
			return end(&found)
		})
	}
	return cmd
}

// lintFile looks at a file that need not be in force.
func lintFile(g *globals, path string) (*admin.RuleFindings, error) {
	data, err := readSmall(path, rules.FileBytesMax)
	if err != nil {
		return nil, err
	}
	opt := advice.Options{}
	if loaded, err := g.LookConfig(); err == nil { // a file can be looked at without
		opt.TopicLevels = loaded.Config.Limits.TopicLevels
		opt.Listeners = sortedKeys(loaded.Config.Listeners)
	}
	p, err := rules.Parse(path, data)
	var bad *rules.Error
	if errors.As(err, &bad) {
		found := &admin.RuleFindings{Data: []admin.RuleFinding{}, More: bad.More, Errors: len(bad.Problems) + bad.More}
		for _, problem := range bad.Problems {
			where, what, _ := strings.Cut(problem.String(), ": ")
			found.Data = append(found.Data, admin.RuleFinding{Severity: "error", Code: "invalid", Where: where, What: what})
		}
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	check := advice.New(opt)
	all := p.Rules()
	for _, r := range all[:len(all)-1] {
		check.Add(r)
	}
	found := admin.FindingsOf(check.Report())
	return &found, nil
}

// printFindings is what was found, a paragraph each that editors find the place by.
func printFindings(out io.Writer, g *globals, r *admin.RuleFindings) error {
	if g.Output == "json" {
		return writeConfigJSON(out, r)
	}
	var b strings.Builder
	for i := range r.Data {
		f := &r.Data[i]
		fmt.Fprintf(&b, "%s: %s: %s [%s]\n", plain(f.Where), f.Severity, plain(f.What), f.Code)
		if f.Text != "" {
			fmt.Fprintf(&b, "  rule      %s\n", plain(f.Text))
		}
		if f.Remedy != "" {
			fmt.Fprintf(&b, "  remedy    %s\n", plain(f.Remedy))
		}
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", r.More)
	}
	if r.Stopped {
		b.WriteString("there are so many rules that not all were compared with those before them\n")
	}
	fmt.Fprintf(&b, "%d rules, %d errors, %d warnings\n", r.Rules, r.Errors, r.Warnings)
	_, err := io.WriteString(out, b.String())
	return err
}
