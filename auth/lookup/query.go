package lookup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
)

// Query makes the question about a client. It is immutable.
type Query interface {
	Question(v *template.Values) backend.Question
	Uses(placeholder string) bool
}

// sqlQuery is one statement with parameters.
type sqlQuery struct{ *template.Statement }

// SQL reads a statement. The error is the rest of a sentence that begins with it.
func SQL(text string, style template.Style) (Query, error) {
	s, err := template.SQL(text, style)
	if err != nil {
		return nil, err
	}
	return sqlQuery{s}, nil
}

// Question implements Query.
func (s sqlQuery) Question(v *template.Values) backend.Question {
	return backend.Question{Text: s.Text(), Args: s.Args(v)}
}

// redisQuery is one command of which the key is different from client to client.
type redisQuery struct {
	command string
	words   []*template.Text
}

// redisCommands are those that read a hash.
var redisCommands = []string{"HMGET", "HGETALL"}

// Redis reads a command such as HMGET mqtt:user:${username} password_hash salt. Its words
// are arguments of their own whatever a client calls itself. The error is the rest of a
// sentence that begins with it.
func Redis(text string) (Query, error) {
	words, err := template.Words(text)
	if err != nil {
		return nil, err
	}
	command, _ := words[0].Literal()
	command = strings.ToUpper(command)
	switch {
	case !slices.Contains(redisCommands, command):
		return nil, fmt.Errorf("is none of the commands that are taken: %s", strings.Join(redisCommands, ", "))
	case len(words) < 2 || command == "HMGET" && len(words) < 3 || command == "HGETALL" && len(words) != 2:
		return nil, errors.New("has the wrong number of words. Write HMGET KEY FIELD..., or HGETALL KEY")
	}
	if _, literal := words[1].Literal(); literal {
		return nil, errors.New("has the same key for every client. Write a placeholder into it, such as mqtt:user:${username}")
	}
	for i, w := range words[1:] {
		if w.Uses(template.Password) {
			return nil, errors.New("has ${password}, which the back end does not need: its hash is read and compared here")
		}
		if _, literal := w.Literal(); !literal && i > 0 {
			return nil, errors.New("has a placeholder in the name of a field. Only the key may differ from client to client")
		}
	}
	return redisQuery{command, words[1:]}, nil
}

// AccountFields tells what an account has no place for among the fields that a query names;
// the error is the rest of a sentence that begins with it. What a statement answers only the
// database knows.
func AccountFields(q Query) error {
	r, ok := q.(redisQuery)
	if !ok || r.command != "HMGET" {
		return nil
	}
	hashed := false
	for _, w := range r.words[1:] {
		name, _ := w.Literal()
		attr, isAttr := strings.CutPrefix(name, columnAttrs)
		switch {
		case name == columnHash:
			hashed = true
		case name == columnSalt, name == columnSuperuser, name == columnUsername, isAttr && template.ValidAttr(attr):
		default:
			return fmt.Errorf("asks for a field %s, which has no meaning. There are %s, %s, %s, %s and %sNAME", shown(name), columnHash, columnSalt, columnSuperuser, columnUsername, columnAttrs)
		}
	}
	if !hashed {
		return fmt.Errorf("does not ask for %s, without which nobody gets in", columnHash)
	}
	return nil
}

// Question implements Query.
func (r redisQuery) Question(v *template.Values) backend.Question {
	args := make([]string, len(r.words))
	for i, w := range r.words {
		args[i] = w.Render(v, nil)
	}
	return backend.Question{Text: r.command, Args: args}
}

// Uses implements Query.
func (r redisQuery) Uses(name string) bool { return r.words[0].Uses(name) }
