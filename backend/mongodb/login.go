package mongodb

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/redoubtmq/redoubt/backend"
)

// Work that a server may make of a login: below that its keys can be guessed at too
// cheaply, above it keeps a core busy for seconds.
const (
	iterationsMin = 4096
	iterationsMax = 1_000_000
)

// login proves by SCRAM-SHA-256 that we know the password, and has the server prove that it
// does. The password is not sent.
func (d *Driver) login(ctx context.Context, c *conn) error {
	client, err := scram.SHA256.NewClient(d.opt.Username, string(d.opt.Password.Reveal()), "")
	if err != nil {
		return errors.New("the name or the password has a character that SCRAM forbids (RFC 4013)")
	}
	conv := client.WithMinIterations(iterationsMin).NewConversation()
	first, err := conv.Step("")
	if err != nil {
		return err
	}
	command := newBuilder().int32("saslStart", 1).text("mechanism", "SCRAM-SHA-256").bytes("payload", []byte(first)).
		begin(typeDocument, "options").bool("skipEmptyExchange", true).end().text("$db", d.opt.Source)
	for range 4 {
		doc, err := c.run(ctx, command.document())
		if err == nil {
			err = refused(doc)
		}
		if err != nil {
			return err
		}
		payload, _ := find(doc, "payload")
		said, ok := payload.asBytes()
		conversation, _ := find(doc, "conversationId")
		number, numbered := conversation.asNumber()
		if !ok || !numbered || len(said) > 4096 {
			return backend.Failed(backend.Garbage, "the server's part of SCRAM is none")
		}
		over, _ := find(doc, "done")
		var next string
		switch {
		case !conv.Done() && !tooMuch(string(said)):
			if next, err = conv.Step(string(said)); err != nil {
				return backend.Failed(backend.Down, "the server does not prove that it knows the password")
			}
		case !conv.Done():
			return backend.Failed(backend.Garbage, "the server asks for more than %d iterations", iterationsMax)
		}
		if over.asBool() {
			if !conv.Valid() {
				return backend.Failed(backend.Down, "the server does not prove that it knows the password")
			}
			return nil
		}
		command = newBuilder().int32("saslContinue", 1).int64("conversationId", number).bytes("payload", []byte(next)).text("$db", d.opt.Source)
	}
	return backend.Failed(backend.Garbage, "the server's part of SCRAM does not end")
}

// tooMuch tells whether a server's first message asks for too many iterations.
func tooMuch(said string) bool {
	for _, part := range strings.Split(said, ",") {
		if text, ok := strings.CutPrefix(part, "i="); ok {
			n, err := strconv.Atoi(text)
			return err != nil || n > iterationsMax
		}
	}
	return false
}
