package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

func serveCmd(g *globals) *cobra.Command {
	var allowRoot bool
	cmd := &cobra.Command{
		Use:        "serve",
		SuggestFor: []string{"run", "start", "broker"},
		Short:      "Run the broker",
		Long: "Runs the broker in the foreground. An empty data directory is initialised first.\n\n" +
			"SIGTERM and SIGINT stop it: it takes no more clients, tells those it has (DISCONNECT 0x8B)\n" +
			"and ends within five seconds. SIGHUP reloads configuration, rules and certificates.\n" +
			"SIGUSR1 collects garbage and gives free memory back to the system, which the broker does by itself after a storm.\n" +
			"Exit codes: 0 stopped on request, 1 refused to start, 2 usage.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd, g, allowRoot) },
	}
	cmd.Flags().BoolVar(&allowRoot, "allow-root", false, "run although the user is root; a fault would then cost the whole machine (redoubt doctor --explain P1.7)")
	return cmd
}

// asRoot is what whoever starts the broker as root is told to do.
const asRoot = `refusing to run as root: a fault in the broker would cost the whole machine.
Run it as a user of its own, which needs no rights but those to the data directory:
  useradd --system redoubt && install -d -o redoubt -g redoubt -m 0700 /var/lib/redoubt
  setpriv --reuid redoubt --regid redoubt --clear-groups redoubt serve
Where it really has to be root, such as in a container that has no other user: redoubt serve --allow-root.
Why: redoubt doctor --explain P1.7`

// stopWithin is how long connections may take to take their last packet.
const stopWithin = 4 * time.Second

func serve(cmd *cobra.Command, g *globals, allowRoot bool) error {
	if os.Geteuid() == 0 && !allowRoot {
		return errors.New(asRoot)
	}
	// A core file would hold every key and password of the process (P2.2).
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	// That binds files. A program that the kernel pipes core dumps to gets all of the memory
	// unless there is none in them (P5.12). Where the kernel has no such thing, doctor says so.
	_ = os.WriteFile("/proc/self/coredump_filter", []byte("0"), 0)
	// quic-go would say so on its own, past our log; see ShortBuffer.
	if err := os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true"); err != nil {
		return err
	}
	// Whatever we or a library make is nobody else's to read (P2.2).
	syscall.Umask(0o077)
	loaded, err := g.LoadConfig()
	if err != nil {
		return err
	}
	level := &slog.LevelVar{}
	log, lines := newLog(loaded.Config, level, os.Stderr)
	defer lines.Close()
	// Caught before anything is made, so that an early signal is not a kill.
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	giveBack := make(chan os.Signal, 1)
	signal.Notify(giveBack, syscall.SIGUSR1)
	defer signal.Stop(giveBack)

	n, err := prepare(loaded, clock.System{}, log, level)
	if err != nil {
		return err
	}
	n.collectNow = giveBack
	n.load = g.LoadConfig
	n.findManager()
	defer n.manager.to.Close()
	n.freshenDevices() // before a listener reads the list
	if err := n.assemble(); err != nil {
		n.release()
		return err
	}
	services, err := n.startServices()
	if err == nil {
		err = n.open()
	}
	if err == nil {
		n.announce(cmd.OutOrStdout(), self(g))
		n.logStarted()
		n.manager.serving(n.inALine())
		n.attend(ctx, hup, lines)
	}
	log.Info("stopping")
	n.manager.stopping()
	end, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	services.stop()
	n.close(end)
	log.Info("stopped")
	return err
}

// attend does what comes up while the broker runs, until ctx is done.
func (n *node) attend(ctx context.Context, hup <-chan os.Signal, lines *lineQueue) {
	often, seldom := time.NewTicker(5*time.Second), time.NewTicker(time.Hour)
	files := time.NewTicker(watchEvery)
	defer files.Stop()
	defer often.Stop()
	defer seldom.Stop()
	n.warnExpiry(n.clock.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			_, _ = n.Reload(ctx) // which has it in the log when it is refused
		case <-files.C:
			n.look(ctx)
			n.withdrawRevoked(ctx)
		case <-often.C:
			now := n.clock.Now()
			n.audit.Sweep(now)
			n.count.Add(metrics.LogLinesSuppressed, lines.Forgive())
			n.door.Sweep(now)
			n.tidyRetained(now)
			n.survey(ctx, surveyEvery)
			n.compare()
			n.tidyStore(ctx)
			n.judgeLists(now)
			n.judgeFlapping(now)
			n.followInterfaces(ctx)
		case <-n.durable.crowded:
			n.tidyStore(ctx)
		case <-seldom.C:
			n.warnExpiry(n.clock.Now())
			n.freshenDevices()
			n.markInUse()
			if changed, err := n.pki.Refresh(n.clock.Now()); err != nil {
				n.log.Error("the server certificate could not be renewed", "error", err.Error())
			} else if changed {
				n.log.Info("the server certificate was renewed", "not_after", n.pki.Certificate().Leaf.NotAfter)
			}
		}
	}
}

// logStarted is announce for who reads the log alone: what it is that writes there from now on.
func (n *node) logStarted() {
	listeners := make([]string, 0, len(n.doors()))
	for _, l := range n.doors() {
		listeners = append(listeners, l.Name+" "+strings.Join(l.Addresses(), " "))
	}
	c := n.loaded.Load().Config
	n.log.Info("started", "version", version, "revision", revision(), "node", c.Node.Name, "data_dir", c.Node.DataDir, "listeners", listeners, "took", n.clock.Now().Sub(n.started).Round(time.Millisecond).String())
}

// announce says what a newcomer needs, in at most 15 lines.
func (n *node) announce(out io.Writer, self string) {
	c := n.loaded.Load().Config
	var b strings.Builder
	fmt.Fprintf(&b, "redoubt %s is ready. Data: %s\n", version, c.Node.DataDir)
	if module := fipsModule(); module != "" {
		fmt.Fprintf(&b, "FIPS 140-3 mode, Go Cryptographic Module %s\n", module)
	}
	port, host, own, nobody := "8883", "localhost", false, "nobody can connect"
	for _, l := range n.doors() {
		ask := l.ClientCert()
		fmt.Fprintf(&b, "  %-7s %s%s\n", l.Name, strings.Join(l.Addresses(), " "), listenerNote(l, ask))
		if ask != pki.ClientCertNone {
			nobody = "nobody can connect without a certificate"
		}
		// The commands below name our CA, so rather a listener with a certificate of it.
		if l.Protocol == config.ProtocolMQTTS && len(l.Addresses()) > 0 && ask != pki.ClientCertRequired && !own {
			own = l.certs.Load() == n.pki.Provider()
			port = l.Addresses()[0][strings.LastIndexByte(l.Addresses()[0], ':')+1:]
		}
	}
	if a := n.enrol.addresses(); len(a) > 0 {
		fmt.Fprintf(&b, "  enroll  %s\n", strings.Join(a, " "))
	}
	for _, bind := range c.Metrics.Bind {
		fmt.Fprintf(&b, "  metrics http://%s/metrics\n", bind)
	}
	fmt.Fprintf(&b, "  CA      %s (every device needs a copy)\n", n.pki.CAPath())
	fmt.Fprintf(&b, "  limits  %s\n", n.files)
	fmt.Fprintf(&b, "  memory  %s\n", n.memory.Load().Sum)
	if n.users.Len() == 0 {
		flags := fmt.Sprintf("-h %s -p %s --cafile %s -u device1 -P SECRET", host, port, n.pki.CAPath())
		fmt.Fprintf(&b, "There is no user yet, so %s. In another terminal:\n", nobody)
		fmt.Fprintf(&b, "  %s user add device1\n", self)
		fmt.Fprintf(&b, "  mosquitto_sub %s -t 'devices/device1/#' -v\n", flags)
		fmt.Fprintf(&b, "  mosquitto_pub %s -t devices/device1/temp -m 21.5\n", flags)
		fmt.Fprintf(&b, "(SECRET is what the first command prints.)\n")
	} else {
		fmt.Fprintf(&b, "%d users. See them with: %s user list\n", n.users.Len(), self)
	}
	_, _ = io.WriteString(out, b.String())
}

// listenerNote says how many connections may wait for accept, if that is known, and whether
// clients need a certificate.
func listenerNote(l *door, ask pki.ClientCert) string {
	var notes []string
	if granted, known := l.Backlog(); known {
		notes = append(notes, fmt.Sprintf("backlog %d", granted))
	}
	switch ask {
	case pki.ClientCertRequired:
		notes = append(notes, "clients need a certificate")
	case pki.ClientCertOptional:
		notes = append(notes, "clients may show a certificate")
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, "; ") + ")"
}

// ClientCert is whether the listener asks for certificates of clients.
func (d *door) ClientCert() pki.ClientCert {
	if clients := d.Clients.Load(); clients != nil {
		return clients.Ask
	}
	return pki.ClientCertNone
}

// self is how the operator calls this program, with the flags that lead to the
// same data directory, to be pasted into a shell.
func self(g *globals) string {
	name := os.Args[0]
	if strings.Contains(name, string(filepath.Separator)+"go-build") { // by go run
		name = "go run ./cmd/redoubt"
	} else if filepath.Base(name) == name {
		name = "redoubt"
	} else {
		name = datadir.Quote(name)
	}
	if g.ConfigFile != "" {
		name += " --config " + datadir.Quote(g.ConfigFile)
	}
	if g.DataDir != "" {
		name += " --data-dir " + datadir.Quote(g.DataDir)
	}
	return name
}
