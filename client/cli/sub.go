package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Sub is `redoubt sub`.
type Sub struct {
	common
	topics, drop, unsubscribe []string
	qos                       mqtt.QoS
	verbose                   bool
	format                    string
	bare                      bool // -N
	count                     int
	noRetained, onlyRetained  bool
	asPublished               bool
	exitSubscribed            bool
}

// NewSub declares the flags of `redoubt sub` on fs.
func NewSub(fs *pflag.FlagSet) *Sub {
	s := &Sub{}
	fs.StringArrayVarP(&s.topics, "topic", "t", nil, "topic `FILTER` to subscribe to; may be repeated")
	fs.VarP(qosValue(&s.qos), "qos", "q", "QoS to ask for")
	fs.BoolVarP(&s.verbose, "verbose", "v", false, "print \"topic payload\"")
	fs.StringVarP(&s.format, "format", "F", "", "print in this `FORM`: "+formatHelp)
	fs.BoolVarP(&s.bare, "no-newline", "N", false, "print no newline after a message")
	fs.VarP(wholeValue(&s.count, 1, 1<<31-1, "COUNT"), "count", "C", "exit after this many messages were printed")
	fs.BoolVarP(&s.exitSubscribed, "exit-after-subscribe", "E", false, "exit when the subscriptions are acknowledged")
	fs.BoolVarP(&s.noRetained, "no-retained", "R", false, "print no retained messages")
	fs.BoolVar(&s.onlyRetained, "retained-only", false, "print retained messages only, and exit at the first that is not")
	fs.BoolVar(&s.asPublished, "retain-as-published", false, "keep the retain flag as the publisher set it (MQTT 5.0)")
	fs.StringArrayVarP(&s.drop, "filter-out", "T", nil, "print no messages whose topic matches this `FILTER`; may be repeated")
	fs.StringArrayVarP(&s.unsubscribe, "unsubscribe", "U", nil, "topic `FILTER` to unsubscribe; may be repeated")
	s.register(fs)
	s.refuse("random-filter", "", "printing a part of the messages at random is not built")
	s.refuse("remove-retained", "", "removing retained messages is not built here: publish an empty one with `redoubt pub -r -n -t TOPIC`")
	s.refuse("pretty", "", "-F %j and -o json print one object per line; a program like jq makes it pretty")
	return s
}

// subPlan is a run whose flags have been judged.
type subPlan struct {
	options     client.Options
	subscribe   mqtt.Subscribe
	unsubscribe mqtt.Unsubscribe
	disconnect  *mqtt.Disconnect
	print       func(dst []byte, m *client.Message) []byte
}

// Run subscribes and prints until it is told to stop. args are the arguments the
// flag parser left over. A nil answer is success; any other is an *Exit.
func (s *Sub) Run(ctx context.Context, args []string, d Defaults, in IO) error {
	p := newPrinter(in, "sub", s.quiet)
	plan, err := s.plan(args, d, in)
	if err != nil {
		return p.fail(withUsage("sub", err))
	}
	if s.debug {
		plan.options.Trace = p.trace
	}
	s.warnPlaintext(p, &plan.options)
	c, err := client.Dial(ctx, plan.options)
	if err != nil {
		return p.fail(err)
	}
	defer c.Close()
	work, cancel := s.limited(ctx)
	defer cancel()
	if err := s.receive(work, c, plan, p); err != nil && !s.stopped(ctx, err) {
		if errors.Is(err, context.DeadlineExceeded) { // -W: leave as one should, so that no will is published
			_ = c.Disconnect(context.WithoutCancel(ctx), *plan.disconnect)
			return s.timedOut(p)
		}
		return p.fail(err)
	}
	_ = c.Disconnect(context.WithoutCancel(ctx), *plan.disconnect) // everything asked for is printed
	return nil
}

// stopped tells whether err is only the user's wish to end: an interrupted sub
// has done what it was for.
func (s *Sub) stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// plan judges the flags before anything is sent.
func (s *Sub) plan(args []string, d Defaults, in IO) (*subPlan, error) {
	plan := &subPlan{}
	s.add.subscribe, s.add.unsubscribe = &plan.subscribe, &plan.unsubscribe
	var inURL string
	var err error
	if plan.options, inURL, err = s.options(args, d, in); err != nil {
		return nil, err
	}
	plan.options.Receive = true
	plan.disconnect = s.add.disconnect
	filters := s.topics
	if inURL != "" {
		filters = append([]string{inURL}, filters...)
	}
	if len(filters) == 0 && len(s.unsubscribe) == 0 {
		return nil, usage("nothing to subscribe to: -t FILTER, or a topic in the URL")
	}
	v5 := plan.options.Connect.Version == mqtt.V5
	if s.asPublished && !v5 {
		return nil, usage("--retain-as-published needs MQTT 5.0")
	}
	if s.noRetained && s.onlyRetained {
		return nil, usage("-R and --retained-only leave nothing to print")
	}
	for _, f := range filters {
		if err := client.VerifyFilter(f); err != nil {
			return nil, err
		}
		sub := mqtt.Subscription{Filter: f, QoS: s.qos, RetainAsPublished: s.asPublished}
		if _, _, shared, _ := topic.ParseShare(f); s.noRetained && v5 && !shared {
			sub.RetainHandling = 2 // do not even send them
		}
		plan.subscribe.Filters = append(plan.subscribe.Filters, sub)
	}
	for _, f := range append(append([]string(nil), s.drop...), s.unsubscribe...) {
		if err := client.VerifyFilter(f); err != nil {
			return nil, err
		}
	}
	plan.unsubscribe.Filters = s.unsubscribe
	plan.print, err = s.printing(in)
	return plan, err
}

// printing chooses how a message is shown.
func (s *Sub) printing(in IO) (func(dst []byte, m *client.Message) []byte, error) {
	clean := func(dst, b []byte) []byte { return append(dst, b...) }
	if in.Terminal {
		clean = func(dst, b []byte) []byte { return client.AppendVisible(dst, b, "\n\t") }
	}
	end := "\n"
	if s.bare {
		end = ""
	}
	if in.JSON {
		if s.format != "" {
			return nil, usage("-F and -o json are two forms of output: give one of them")
		}
		return func(dst []byte, m *client.Message) []byte { return append(appendJSON(dst, m), '\n') }, nil
	}
	spec := s.format
	if spec == "" {
		if spec = "%p"; s.verbose {
			spec = "%t %p"
		}
	}
	f, err := parseFormat(spec, clean)
	return func(dst []byte, m *client.Message) []byte { return append(f.append(dst, m), end...) }, err
}

// receive subscribes and prints.
func (s *Sub) receive(ctx context.Context, c *client.Client, plan *subPlan, p *printer) error {
	if err := s.subscribeAll(ctx, c, plan, p); err != nil {
		return err
	}
	if s.exitSubscribed {
		return nil
	}
	var buf []byte
	for printed := 0; s.count == 0 || printed < s.count; {
		m, err := c.Next(ctx)
		if err != nil {
			return err
		}
		if s.onlyRetained && !m.Retain {
			return nil
		}
		if s.noRetained && m.Retain || s.dropped(&m) {
			continue
		}
		buf = plan.print(buf[:0], &m)
		if err := p.write(p.io.Stdout, buf); err != nil {
			return &client.Error{Kind: client.KindFile, What: "cannot write to standard output: " + err.Error(), Err: err}
		}
		printed++
	}
	return nil
}

// dropped tells whether -T leaves the message out.
func (s *Sub) dropped(m *client.Message) bool {
	for _, f := range s.drop {
		if topic.Match(f, []byte(m.Topic)) {
			return true
		}
	}
	return false
}

// subscribeAll subscribes, then unsubscribes, as mosquitto_sub does. It fails if
// the server refused every filter; a refusal of some is told.
func (s *Sub) subscribeAll(ctx context.Context, c *client.Client, plan *subPlan, p *printer) error {
	if len(plan.subscribe.Filters) > 0 {
		results, err := c.Subscribe(ctx, plan.subscribe)
		if err != nil {
			return err
		}
		if err := tellRefusals(results, p); err != nil {
			return err
		}
	}
	if len(plan.unsubscribe.Filters) > 0 {
		results, err := c.Unsubscribe(ctx, plan.unsubscribe)
		if err != nil {
			return err
		}
		return tellRefusals(results, p)
	}
	return nil
}

// tellRefusals prints the refusals if some filters were accepted, and answers
// them as one failure if none was.
func tellRefusals(results []client.Granted, p *printer) error {
	var refused []*client.Error
	for _, g := range results {
		var e *client.Error
		if errors.As(g.Err, &e) {
			refused = append(refused, e)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	if len(refused) == len(results) {
		for _, e := range refused[:len(refused)-1] {
			p.complain(e)
		}
		return refused[len(refused)-1]
	}
	for _, e := range refused {
		p.complain(e)
	}
	return nil
}

// timedOut is what -W says when it ran out.
func (c *common) timedOut(p *printer) error {
	e := &client.Error{Kind: client.KindTimeout, What: "timed out after " + c.wait.String() + " (-W)"}
	p.complain(e)
	return &Exit{Code: client.ExitTimeout, Err: e, reported: true}
}

// limited is the time that -W leaves from now on.
func (c *common) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.wait == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.wait)
}

// warnPlaintext tells that a password is about to cross a network in the clear.
func (c *common) warnPlaintext(p *printer, o *client.Options) {
	if o.TLS == nil && o.Socket == "" && o.Connect.HasPassword && !loopback(o.Host) {
		p.warn("the password crosses the network to %s in the clear; leave out --protocol mqtt to use TLS", client.Printable(o.Host))
	}
	if o.TLS != nil && o.TLS.SkipHostName {
		p.warn("--insecure: any server with a certificate of a trusted CA can pass itself off as %s", client.Printable(o.Host))
	}
}

// withUsage points to the help after a mistake in the command line.
func withUsage(command string, err error) error {
	var e *client.Error
	if errors.As(err, &e) && e.Kind == client.KindOptions {
		e.Help = append(e.Help, "see redoubt "+command+" --help")
	}
	return err
}

// waitFor waits, unless ctx ends first.
func waitFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
