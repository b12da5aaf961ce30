package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// DefaultFile is read when no file is named and it exists.
const DefaultFile = "/etc/redoubt/redoubt.yaml"

// Options is everything Load knows about the world.
type Options struct {
	File           string    // "": DefaultFile if it is there, else the built-in defaults
	DataDir        string    // flag --data-dir; "": not given. Wins over file and environment
	Env            []string  // as os.Environ; only REDOUBT_ variables are looked at
	IgnoreEnv      []string  // REDOUBT_ variables that are not settings and belong to the caller
	Now            time.Time // decides whether waivers have expired
	CredentialsDir string    // $CREDENTIALS_DIRECTORY; "": credential:NAME is refused
	// ExpiredWaivers lets those be that are past: for who looks at a broker that runs, which goes
	// on when one of its waivers ends. A start and a reload refuse them.
	ExpiredWaivers bool
	Hostname       string // default of node.name; "": asked of the system
}

// Loaded is a valid configuration and where each value of it came from.
type Loaded struct {
	Config *Config
	File   string // the file that was read; "" when none was

	origins map[string]Origin
	source  source
	idle    []Idle
	plain   bool // nothing of it was set at run time
}

// Origin returns where the value of key came from. A key is a path with names
// in it, such as listeners.mqtts.bind; a list has one origin.
func (l *Loaded) Origin(key string) Origin { return l.origins[key] }

// Load merges defaults, file, environment and flags, in this order, and judges
// the result; Loaded.With adds what was set at run time. An error is an *Errors with everything that is wrong.
func Load(opts Options) (*Loaded, error) {
	if opts.Now.IsZero() {
		panic("BUG: config.Load without the time")
	}
	file := opts.File
	if file == "" {
		if _, err := os.Stat(DefaultFile); err == nil {
			file = DefaultFile
		}
	}
	var data []byte
	if file != "" {
		var err error
		if data, err = readRegular(file, FileBytesMax); err != nil {
			return nil, &Errors{Problems: []Problem{{Origin: Origin{Kind: FromFile, Name: file}, What: "The configuration file " + err.Error() + "."}}}
		}
	}
	l := &loader{opts: opts, secrets: secretFinder{opts.CredentialsDir, readSecretOf(opts.CredentialsDir)}}
	return l.load(file, data)
}

// LoadText judges a text as Load would judge it as the content of opts.File, for who is
// about to write it there.
func LoadText(opts Options, text string) (*Loaded, error) {
	l := &loader{opts: opts, secrets: secretFinder{opts.CredentialsDir, readSecretOf(opts.CredentialsDir)}}
	return l.load(opts.File, []byte(text))
}

// loader is one Load.
type loader struct {
	opts     Options
	secrets  secretFinder
	problems problems
	origins  map[string]Origin
	kept     []Kept // vetted
}

// layer makes the decoder of one layer.
func (l *loader) layer(origin func(*yaml.Node) Origin, base string) *decoder {
	return &decoder{problems: &l.problems, origins: l.origins, origin: origin, base: base, secret: l.secrets.find}
}

func (l *loader) load(file string, data []byte) (*Loaded, error) {
	l.origins = map[string]Origin{}
	c := defaultConfig()
	l.file(file, data, c)
	l.env(settings(l.opts.Env, l.opts.IgnoreEnv), c)
	if l.opts.DataDir != "" {
		at := Origin{Kind: FromFlag, Name: "--data-dir"}
		d := l.layer(func(*yaml.Node) Origin { return at }, "")
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: l.opts.DataDir}
		d.into(n, n, "node.data_dir", "node.data_dir", reflect.ValueOf(&c.Node.DataDir).Elem())
	}
	for i := range l.kept {
		l.runTime(&l.kept[i], c)
	}
	l.derive(c)
	l.check(c)
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return &Loaded{Config: c, File: file, origins: l.origins, source: source{l.opts, l.secrets, data}, plain: len(l.kept) == 0}, nil
}

func (l *loader) file(file string, data []byte, c *Config) {
	root, p := parseYAML(data, file)
	if p != nil {
		l.problems.add(*p)
	}
	if root == nil {
		return
	}
	base := ""
	if abs, err := filepath.Abs(file); err == nil {
		base = filepath.Dir(abs)
	}
	d := l.layer(func(n *yaml.Node) Origin {
		return Origin{Kind: FromFile, Name: file, Line: n.Line, Column: n.Column}
	}, base)
	d.into(root, root, "", "", reflect.ValueOf(c).Elem())
}

// derive fills in what is empty by default and depends on other keys or on the
// host.
func (l *loader) derive(c *Config) {
	if c.Node.Name == "" {
		c.Node.Name = l.hostname()
	}
	if c.Authz.RulesFile == "" {
		c.Authz.RulesFile = filepath.Join(c.Node.DataDir, "rules.yaml")
	}
	if c.Admin.Socket == "" {
		c.Admin.Socket = filepath.Join(c.Node.DataDir, "admin.sock")
	}
	for name, ln := range c.Listeners {
		if ln.Plaintext() {
			ln.TLS = TLS{}
		}
		if !ln.WebSocket() {
			ln.Path, ln.Origins = "", nil
		}
		l.narrow("listeners."+name+".mqtt", &ln.MQTT, &c.MQTT.Offer)
		l.inherit("listeners."+name+".limits", &ln.Limits, &c.Limits)
		c.Listeners[name] = ln
	}
}

func (l *loader) hostname() string {
	name := l.opts.Hostname
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			l.problems.add(Problem{Origin: l.origins["node.name"], Key: "node.name", What: "is not set, and the system knows no host name (" + err.Error() + "). Set it."})
			return ""
		}
	}
	if row := rowOf["node.name"]; !shape(row.Pattern).MatchString(name) {
		l.problems.add(Problem{Origin: l.origins["node.name"], Key: "node.name", Value: quote(strings.ToValidUTF8(name, "?")),
			What: "is the host name and cannot be the name of the node (" + row.Form + "). Set node.name."})
	}
	return name
}
