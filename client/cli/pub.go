package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Pub is `redoubt pub`.
type Pub struct {
	common
	topic         string
	message, file string
	null          bool
	stdin, lines  bool
	qos           mqtt.QoS
	retain        bool
	repeat        int
	repeatDelay   time.Duration

	firstRefusal error // of the run
}

// NewPub declares the flags of `redoubt pub` on fs.
func NewPub(fs *pflag.FlagSet) *Pub {
	p := &Pub{repeat: 1}
	fs.StringVarP(&p.topic, "topic", "t", "", "`TOPIC` to publish to")
	fs.StringVarP(&p.message, "message", "m", "", "payload `TEXT`")
	fs.StringVarP(&p.file, "file", "f", "", "`FILE` that is the payload")
	fs.BoolVarP(&p.stdin, "stdin-file", "s", false, "standard input is the payload")
	fs.BoolVarP(&p.lines, "stdin-line", "l", false, "every line of standard input is a message")
	fs.BoolVarP(&p.null, "null-message", "n", false, "empty payload; with -r it removes the retained message")
	fs.VarP(qosValue(&p.qos), "qos", "q", "QoS to publish with")
	fs.BoolVarP(&p.retain, "retain", "r", false, "retain the message")
	fs.Var(wholeValue(&p.repeat, 1, 1<<31-1, "COUNT"), "repeat", "publish the message this many times")
	fs.Var(durationValue(&p.repeatDelay, true), "repeat-delay", "wait this long between repetitions")
	p.register(fs)
	return p
}

// pubPlan is a run whose flags have been judged.
type pubPlan struct {
	options    client.Options
	message    client.Outgoing
	disconnect *mqtt.Disconnect
}

// Run publishes. args are the arguments the flag parser left over. A nil answer
// is success; any other is an *Exit.
func (p *Pub) Run(ctx context.Context, args []string, d Defaults, in IO) error {
	out := newPrinter(in, "pub", p.quiet)
	plan, err := p.plan(args, d, in)
	if err != nil {
		return out.fail(withUsage("pub", err))
	}
	if p.debug {
		plan.options.Trace = out.trace
	}
	p.warnPlaintext(out, &plan.options)
	work, cancel := p.limited(ctx)
	defer cancel()
	c, err := client.Dial(work, plan.options)
	if err != nil {
		return p.ended(ctx, err, out)
	}
	defer c.Close()
	if err := p.publish(work, c, plan, in, out); err != nil {
		if c.Err() == nil { // leave as one should, so that no will is published
			_ = c.Disconnect(context.WithoutCancel(ctx), *plan.disconnect)
		}
		return p.ended(ctx, err, out)
	}
	// What was acknowledged is done, whatever the server says in parting; a message
	// of QoS 0 can only be refused now.
	if err := c.Disconnect(work, *plan.disconnect); err != nil && p.qos == 0 {
		return p.ended(ctx, err, out)
	}
	if p.firstRefusal != nil { // each has been told when it came
		code := client.ExitFailed
		var e *client.Error
		if errors.As(p.firstRefusal, &e) {
			code = e.ExitCode()
		}
		return &Exit{Code: code, Err: p.firstRefusal, reported: true}
	}
	return nil
}

// ended tells a failure, and first whether it was -W or the user that caused it.
func (p *Pub) ended(ctx context.Context, err error, out *printer) error {
	var e *client.Error
	byContext := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, &e) && e.Kind == client.KindInterrupted
	switch {
	case byContext && ctx.Err() != nil:
		return out.fail(&client.Error{Kind: client.KindInterrupted, What: "interrupted before the server had acknowledged everything"})
	case byContext && p.wait > 0:
		return p.timedOut(out)
	}
	return out.fail(err)
}

// plan judges the flags before anything is sent, and reads the payload.
func (p *Pub) plan(args []string, d Defaults, in IO) (*pubPlan, error) {
	plan := &pubPlan{}
	p.add.publish = &plan.message
	var inURL string
	var err error
	if plan.options, inURL, err = p.options(args, d, in); err != nil {
		return nil, err
	}
	plan.disconnect = p.add.disconnect
	m := &plan.message
	m.Topic, m.QoS, m.Retain = p.topic, p.qos, p.retain
	switch {
	case inURL != "" && p.given("topic"):
		return nil, usage("-L already names the topic: leave out -t, or the topic in the URL")
	case inURL != "":
		m.Topic = inURL
	case m.Topic == "":
		return nil, usage("no topic to publish to: -t TOPIC, or a topic in the URL")
	}
	if err := client.VerifyOutgoing(m, plan.options.Connect.Version); err != nil {
		return nil, err
	}
	return plan, p.payload(m, in)
}

// payload finds the one source of the payload and reads it, unless it is a
// stream of lines.
func (p *Pub) payload(m *client.Outgoing, in IO) (err error) {
	sources := 0
	for _, f := range []string{"message", "file", "stdin-file", "stdin-line", "null-message"} {
		if p.given(f) {
			sources++
		}
	}
	switch {
	case sources == 0:
		return usage("no message: one of -m TEXT, -f FILE, -s, -l and -n")
	case sources > 1:
		return usage("a message has one source: one of -m, -f, -s, -l and -n")
	case p.lines && p.given("repeat"):
		return usage("--repeat is for one message; -l has many")
	case p.given("message"):
		m.Payload = []byte(p.message)
	case p.given("file"):
		f, err := os.Open(p.file)
		if err != nil {
			return fileError("the file", p.file, err)
		}
		defer f.Close()
		m.Payload, err = readPayload(f, p.file)
		return err
	case p.stdin: // after the password, if --password-file - took the first line
		m.Payload, err = readPayload(in.Stdin, "standard input")
	}
	return err
}

// readPayload reads one payload, at most what a packet can carry.
func readPayload(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, mqtt.RemainingMax+1))
	if err != nil {
		return nil, fileError("the payload from", name, err)
	}
	if len(b) > mqtt.RemainingMax {
		return nil, &client.Error{Kind: client.KindFile, What: fmt.Sprintf("%s is longer than the %d bytes an MQTT packet can carry", name, mqtt.RemainingMax)}
	}
	return b, nil
}

// publish sends the message, or all of them.
func (p *Pub) publish(ctx context.Context, c *client.Client, plan *pubPlan, in IO, out *printer) error {
	if p.lines {
		return p.publishLines(ctx, c, plan, in, out)
	}
	for i := range p.repeat {
		if i > 0 && p.repeatDelay > 0 {
			if err := waitFor(ctx, p.repeatDelay); err != nil {
				return err
			}
		}
		pending, err := c.Send(ctx, &plan.message)
		if err != nil {
			return err
		}
		if err := p.settle(ctx, c, &plan.message, pending, out); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for the acknowledgement of m and tells it. Only the end of the
// connection, or of ctx, is an error here: a refusal is told and remembered.
func (p *Pub) settle(ctx context.Context, c *client.Client, m *client.Outgoing, pending *client.Pending, out *printer) error {
	reason, err := pending.Wait(ctx)
	var e *client.Error
	if errors.As(err, &e) && e.Kind == client.KindPublishRefused {
		if p.firstRefusal == nil {
			p.firstRefusal = err
		}
		out.complain(e)
		return nil
	}
	if err != nil {
		return err
	}
	if out.io.JSON {
		line := appendObject(nil, struct {
			Topic      string `json:"topic"`
			QoS        int    `json:"qos"`
			Retain     int    `json:"retain"`
			PayloadLen int    `json:"payloadlen"`
			Code       int    `json:"reason_code"`
			Reason     string `json:"reason"`
		}{m.Topic, int(m.QoS), bit(m.Retain), len(m.Payload), int(reason), reason.String()})
		return out.write(out.io.Stdout, append(line, '\n'))
	}
	return nil
}

// underWay is a message whose acknowledgement is due.
type underWay struct {
	m       client.Outgoing
	pending *client.Pending
}

// publishLines sends every line as it comes, without waiting for the
// acknowledgement of the one before; the window is the connection's.
func (p *Pub) publishLines(ctx context.Context, c *client.Client, plan *pubPlan, in IO, out *printer) error {
	lines := readLines(ctx, in.Stdin)
	var queue []underWay
	var oldest <-chan struct{} // closed when queue[0] is acknowledged
	for lines != nil || len(queue) > 0 {
		if oldest = nil; len(queue) > 0 {
			oldest = queue[0].pending.Done()
		}
		source := lines
		if len(queue) >= p.window { // sending would wait; the oldest answer comes first
			source = nil
		}
		select {
		case l, ok := <-source:
			if !ok {
				lines = nil
				continue
			}
			if l.err != nil {
				return l.err
			}
			u := underWay{m: plan.message}
			u.m.Payload = l.text
			var err error
			if u.pending, err = c.Send(ctx, &u.m); err != nil {
				return err
			}
			queue = append(queue, u)
		case <-oldest:
			u := queue[0]
			queue = queue[1:]
			if err := p.settle(ctx, c, &u.m, u.pending, out); err != nil {
				return err
			}
		case <-c.Done():
			if len(queue) > 0 { // its error names the message
				return p.settle(ctx, c, &queue[0].m, queue[0].pending, out)
			}
			return c.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// line is one line of standard input, or what went wrong.
type line struct {
	text []byte
	err  error
}

// readLines reads lines until the end of r or of ctx, and closes the channel. It
// starts the one goroutine nobody waits for: a read from a terminal cannot be
// interrupted, so that the last one may end only with the process. It holds
// nothing but its buffer.
func readLines(ctx context.Context, r io.Reader) <-chan line {
	out := make(chan line)
	send := func(l line) bool {
		select {
		case out <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(out)
		s := bufio.NewScanner(r)
		s.Buffer(nil, mqtt.RemainingMax)
		s.Split(splitLines)
		for s.Scan() {
			if !send(line{text: bytes.Clone(s.Bytes())}) {
				return
			}
		}
		if err := s.Err(); err != nil {
			send(line{err: fileError("a line of", "standard input", err)})
		}
	}()
	return out
}

// splitLines cuts at newlines and nowhere else: a carriage return belongs to the
// message.
func splitLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
