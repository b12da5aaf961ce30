package template

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Style is how a database writes the places of parameters.
type Style uint8

// The styles.
const (
	Dollar   Style = iota // $1, $2: PostgreSQL
	Question              // ?: MySQL and MariaDB
)

// Statement is a query whose placeholders are parameters. It is immutable.
type Statement struct {
	text string
	args []string // names, in order
}

// Text is the statement with $1 or ? for each placeholder, the same for every client.
func (s *Statement) Text() string { return s.text }

// Uses tells whether the placeholder occurs.
func (s *Statement) Uses(name string) bool { return slices.Contains(s.args, name) }

// Known is as of Text.
func (s *Statement) Known(v *Values) bool {
	return slices.ContainsFunc(s.args, func(name string) bool { return v.Get(name) != "" })
}

// Args are the values of the parameters, in order.
func (s *Statement) Args(v *Values) []string {
	out := make([]string, len(s.args))
	for i, name := range s.args {
		out[i] = v.Get(name)
	}
	return out
}

// SQL reads one statement. A placeholder inside quotes, comments or quoted names would
// not be a parameter, and is refused. The error is the rest of a sentence that begins
// with the statement.
func SQL(text string, style Style) (*Statement, error) {
	if len(text) > TextMax {
		return nil, fmt.Errorf("is longer than %d bytes", TextMax)
	}
	s, out := &Statement{}, strings.Builder{}
	for text != "" {
		if strings.HasPrefix(text, "${") {
			name, rest, err := placeholder(text)
			if err != nil {
				return nil, err
			}
			if name == Password {
				return nil, errors.New("has ${password}, which a database does not need: its hash is read and compared here, and a password in a query ends in logs. Select the column of the hash as password_hash")
			}
			s.args = append(s.args, name)
			if style == Dollar {
				fmt.Fprintf(&out, "$%d", len(s.args))
			} else {
				out.WriteByte('?')
			}
			text = rest
			continue
		}
		n, what, err := quoted(text, style)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			if at := strings.Index(text[:n], "${"); at >= 0 {
				return nil, fmt.Errorf("has a placeholder inside %s, where it would not be a parameter. Write it without: WHERE username = ${username}; parts are joined as the database does it, such as 'device-' || ${clientid}, or CONCAT", what)
			}
			out.WriteString(text[:n])
			text = text[n:]
			continue
		}
		switch {
		case text[0] == ';' && strings.TrimSpace(text[1:]) == "":
			return nil, errors.New("ends with a semicolon. Remove it")
		case text[0] == ';':
			return nil, errors.New("is more than one statement. Write one")
		case text[0] == '?' && style == Question:
			return nil, errors.New("has a ?, which would be taken for a parameter. Write what goes there as a placeholder, such as ${username}")
		case text[0] == '$' && style == Dollar && len(text) > 1 && text[1] >= '0' && text[1] <= '9':
			return nil, errors.New("has a $ with a number, which would be taken for a parameter. Write what goes there as a placeholder, such as ${username}")
		}
		out.WriteByte(text[0])
		text = text[1:]
	}
	s.text = strings.TrimSpace(out.String())
	if s.text == "" {
		return nil, errors.New("is empty")
	}
	return s, nil
}

// quoted is the length of a quote or comment that text begins with, and what it is; 0 if
// it begins with neither.
func quoted(text string, style Style) (n int, what string, err error) {
	switch {
	case text[0] == '\'':
		return closing(text, 1, style == Question, "quotes")
	case style == Dollar && len(text) > 1 && (text[0] == 'E' || text[0] == 'e') && text[1] == '\'':
		return closing(text, 2, true, "quotes")
	case text[0] == '"':
		return closing(text, 1, style == Question, "quotes")
	case text[0] == '`' && style == Question:
		return closing(text, 1, false, "quotes")
	case strings.HasPrefix(text, "--"), text[0] == '#' && style == Question:
		if end := strings.IndexByte(text, '\n'); end >= 0 {
			return end, "a comment", nil
		}
		return len(text), "a comment", nil
	case strings.HasPrefix(text, "/*"):
		end := strings.Index(text[2:], "*/")
		if end < 0 {
			return 0, "", errors.New("has a comment that does not end")
		}
		if strings.Contains(text[2:2+end], "/*") { // PostgreSQL nests them, MySQL does not
			return 0, "", errors.New("has a comment inside a comment. Remove it")
		}
		return end + 4, "a comment", nil
	case text[0] == '$' && style == Dollar:
		tag := strings.IndexByte(text[1:], '$')
		if tag < 0 || strings.ContainsAny(text[1:1+tag], " \t\n{}(),") || tag > 0 && text[1] >= '0' && text[1] <= '9' {
			return 0, "", nil
		}
		mark := text[:tag+2]
		end := strings.Index(text[len(mark):], mark)
		if end < 0 {
			return 0, "", errors.New("has quotes that do not end")
		}
		return len(mark)*2 + end, "quotes", nil
	}
	return 0, "", nil
}

// closing finds the end of what began with from characters, of which the last one is the
// mark; a doubled mark is none, nor is one after a backslash where those count.
func closing(text string, from int, backslash bool, what string) (int, string, error) {
	mark := text[from-1]
	for i := from; i < len(text); i++ {
		switch {
		case text[i] == '\\' && backslash:
			i++
		case text[i] != mark:
		case i+1 < len(text) && text[i+1] == mark:
			i++
		default:
			return i + 1, what, nil
		}
	}
	return 0, "", fmt.Errorf("has %s that do not end", what)
}
