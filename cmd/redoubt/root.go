package main

import (
	"crypto/fips140"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// version is set by the release build; a build from source says what it was
// built from.
var version = "0.1.0-dev"

// globals are the flags every command has.
type globals struct {
	ConfigFile string
	DataDir    string
	Output     string // text or json
}

// LoadConfig reads the configuration as serve would.
func (g *globals) LoadConfig() (*config.Loaded, error) { return config.Load(g.loadOptions()) }

// LookConfig is LoadConfig for who looks at a broker that may run: that a waiver has ended since
// it started must not keep anybody from its administration.
func (g *globals) LookConfig() (*config.Loaded, error) {
	o := g.loadOptions()
	o.ExpiredWaivers = true
	return config.Load(o)
}

func (g *globals) loadOptions() config.Options {
	return config.Options{
		File: g.ConfigFile, DataDir: g.DataDir, Env: os.Environ(), IgnoreEnv: []string{"REDOUBT_PASSWORD"},
		Now: clock.System{}.Now(), CredentialsDir: os.Getenv("CREDENTIALS_DIRECTORY"),
	}
}

func rootCmd() *cobra.Command {
	g := &globals{}
	root := &cobra.Command{
		Use:   "redoubt",
		Short: "A hardened MQTT broker",
		Long: "Redoubt is a hardened MQTT broker: one binary that refuses strangers.\n\n" +
			"Start it with 'redoubt serve', add a device with 'redoubt user add NAME'.\n" +
			"Exit codes: 0 done, 1 refused or failed, 2 usage; a command that has more says so in its help.",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if g.Output != "text" && g.Output != "json" {
				return &usageError{fmt.Errorf("--output %q: it is text or json", g.Output)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := root.PersistentFlags()
	f.StringVar(&g.ConfigFile, "config", "", "configuration `FILE` (default "+config.DefaultFile+" if it is there, else built-in defaults)")
	f.StringVar(&g.DataDir, "data-dir", "", "data `DIRECTORY`; overrides node.data_dir")
	f.StringVarP(&g.Output, "output", "o", "text", "text or json, where there is something to read")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(
		serveCmd(g), initCmd(g), statusCmd(g), topCmd(g), reloadCmd(g), doctorCmd(g), fixCmd(g), userCmd(g), authnCmd(g), certCmd(g), aclCmd(g), whyCmd(g), canICmd(g), configCmd(g),
		listenersCmd(g), clientsCmd(g), sessionsCmd(g), subsCmd(g), retainedCmd(g), banCmd(g), tokenCmd(g), logCmd(g), storeCmd(g),
		pubCmd(g), subCmd(g), benchCmd(g), versionCmd(g), manCmd(),
	)
	asUsage(root)
	return root
}

// asUsage lets wrong arguments end with exit code 2.
func asUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err != nil && cmd.HasSubCommands() {
				if near := meant(cmd, args[0]); near != "" {
					err = fmt.Errorf("%w; did you mean %s?", err, near)
				}
			}
			if err != nil {
				return &usageError{err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		asUsage(sub)
	}
}

// meant is the command that name may stand for, or "".
func meant(parent *cobra.Command, name string) string {
	parent.SuggestionsMinimumDistance = max(len(name)/3, 1)
	if near := parent.SuggestionsFor(name); len(near) > 0 {
		return parent.CommandPath() + " " + near[0]
	}
	return ""
}

func versionCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{"version": version, "revision": revision(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			if module := fipsModule(); module != "" {
				v["fips140"] = module
			}
			if g.Output == "json" {
				return writeConfigJSON(cmd.OutOrStdout(), v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "redoubt %s (%s, %s, %s)\n", v["version"], v["revision"], v["go"], v["platform"])
			if err == nil && v["fips140"] != "" {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "FIPS 140-3 mode, Go Cryptographic Module %s\n", v["fips140"])
			}
			return err
		},
	}
}

// fipsModule is the version of Go's cryptographic module that runs in FIPS 140-3 mode;
// empty: it does not run in that mode. docs/ops/fips.md says what the mode covers.
func fipsModule() string {
	if !fips140.Enabled() {
		return ""
	}
	return fips140.Version()
}

// revision is the commit the binary was built from, if the build knew it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown revision"
}
