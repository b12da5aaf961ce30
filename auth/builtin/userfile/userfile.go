// Package userfile reads and writes files of users: CSV and JSON with EMQX's columns, and
// Mosquitto's password files. It judges the form of a file; whether a user can be imported
// is package builtin's to say. No error shows a hash, a salt or a password.
package userfile

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// BytesMax bounds a file, in bytes: as many users as one import takes, with long hashes.
const BytesMax = 16 << 20

// Formats of a file.
const (
	CSV       = "csv"
	JSON      = "json"
	Mosquitto = "mosquitto" // NAME:HASH on each line
)

// Formats are all there are.
var Formats = []string{CSV, JSON, Mosquitto}

// columns are EMQX's. Those of an export without hashes are not among them: such a file
// holds nothing to log in with.
var columns = []string{"user_id", "password_hash", "salt", "is_superuser", "password"}

// superuser is why such a user is not imported.
const superuser = "is a superuser there, and nobody is above the rules here: grant what the user needs in the rules file, and import the user with --ignore-superuser"

// Options of Read.
type Options struct {
	Format          string // one of the constants; empty: by the name, then by the content
	IgnoreSuperuser bool   // import superusers as users
}

// Read reads a file. An error is of the file as a whole, with a line where there is one;
// what is wrong with one user is in the entry's Wrong.
func Read(name string, data []byte, opt Options) ([]builtin.Entry, error) {
	if len(data) > BytesMax {
		return nil, fmt.Errorf("the file has more than %d bytes; split it", BytesMax)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // which spreadsheets write
	if !utf8.Valid(data) {
		return nil, errors.New("the file is not UTF-8")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("the file is empty")
	}
	format := opt.Format
	if format == "" {
		format = guess(name, data)
	}
	r := reader{ignoreSuper: opt.IgnoreSuperuser}
	var err error
	switch format {
	case CSV:
		err = r.csv(data)
	case JSON:
		err = r.json(data)
	case Mosquitto:
		err = r.mosquitto(data)
	default:
		err = errors.New("the format is none of " + strings.Join(Formats, ", "))
	}
	if err != nil {
		return nil, err
	}
	return r.entries, nil
}

// guess goes by the end of the name, and then by how the file begins.
func guess(name string, data []byte) string {
	name = strings.ToLower(name)
	first, _, _ := bytes.Cut(data, []byte{'\n'})
	switch {
	case strings.HasSuffix(name, ".json"), bytes.HasPrefix(bytes.TrimSpace(data), []byte{'['}):
		return JSON
	case strings.HasSuffix(name, ".csv"), bytes.Contains(first, []byte("user_id")):
		return CSV
	}
	return Mosquitto
}

// reader collects the entries of a file.
type reader struct {
	ignoreSuper bool
	entries     []builtin.Entry
}

// row is one user by column.
func (r *reader) row(line int, has func(column string) (text string, there bool)) error {
	if len(r.entries) == builtin.ImportMax {
		return fmt.Errorf("the file has more than %d users, which is the most that one import takes; split it", builtin.ImportMax)
	}
	e := builtin.Entry{Line: line}
	e.Name, _ = has("user_id")
	e.Salt, _ = has("salt")
	stored, _ := has("password_hash")
	password, _ := has("password")
	e.Stored, e.Password = secret.FromString(stored), secret.FromString(password)
	super, _ := has("is_superuser")
	switch super {
	case "", "false", "0":
	case "true", "1":
		if !r.ignoreSuper {
			e.Wrong = superuser
		}
	default:
		e.Wrong = "is_superuser is neither true nor false"
	}
	switch {
	case e.Wrong != "":
	case stored == "" && password == "":
		e.Wrong = "has neither password_hash nor password"
	case stored != "" && password != "":
		e.Wrong = "has both password_hash and password; leave one out"
	}
	r.entries = append(r.entries, e)
	return nil
}

// known says what is wrong with the columns of a CSV file or the keys of an object.
func known(names []string) error {
	for i, n := range names {
		if !slices.Contains(columns, n) {
			if len(n) > 32 || strings.Contains(n, "$") {
				n = "one of them" // a row where the head belongs
			} else {
				n = fmt.Sprintf("%q", n)
			}
			return fmt.Errorf("%s is no column of a file of users; there are %s", n, strings.Join(columns, ", "))
		}
		if slices.Contains(names[:i], n) {
			return fmt.Errorf("%s is there twice", n)
		}
	}
	if !slices.Contains(names, "user_id") {
		return errors.New("user_id is missing")
	}
	if !slices.Contains(names, "password_hash") && !slices.Contains(names, "password") {
		return errors.New("there is neither password_hash nor password: nobody could log in. An export has hashes if it was made with --include-hashes")
	}
	return nil
}

func (r *reader) csv(data []byte) error {
	in := csv.NewReader(bytes.NewReader(data))
	head, err := in.Read()
	if err != nil {
		return plainCSV(err)
	}
	if err := known(head); err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return plainCSV(err)
		}
		line, _ := in.FieldPos(0)
		err = r.row(line, func(column string) (string, bool) {
			i := slices.Index(head, column)
			if i < 0 {
				return "", false
			}
			return fields[i], true
		})
		if err != nil {
			return err
		}
	}
}

// plainCSV keeps the position and the kind of an error.
func plainCSV(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("line %d: %w", p.Line, p.Err)
	}
	return errors.New("the file is not CSV")
}

// mosquitto reads NAME:HASH lines. Mosquitto's names end at the first colon.
func (r *reader) mosquitto(data []byte) error {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		text = bytes.TrimRight(text, "\r\n")
		if len(bytes.TrimSpace(text)) == 0 || text[0] == '#' {
			continue
		}
		name, stored, ok := strings.Cut(string(text), ":")
		err := r.row(line, func(column string) (string, bool) {
			switch column {
			case "user_id":
				return name, ok
			case "password_hash":
				return stored, ok
			}
			return "", false
		})
		if err != nil {
			return err
		}
		e := &r.entries[len(r.entries)-1]
		switch {
		case !ok:
			*e = builtin.Entry{Line: line, Wrong: "is not NAME:HASH, as a password file of Mosquitto has it (--format csv or json is another form)"}
		case stored == "":
			e.Wrong = "has an empty password"
		case stored[0] != '$':
			e.Wrong = "has a password that is not hashed (mosquitto_passwd -U hashes those of a file)"
		}
	}
	return nil
}

// json reads a list of objects. Each is looked at twice: for what encoding/json lets pass
// (keys given twice or in other capitals), and for what it says.
func (r *reader) json(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	at := func() int { return 1 + bytes.Count(data[:d.InputOffset()], []byte{'\n'}) }
	wrong := func(why string) error { return fmt.Errorf("line %d: %s", at(), why) }
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return wrong("the file is not a list of users, [{\"user_id\": ...}]")
	}
	line, counted := 1, int64(0) // so that lines are counted once
	for d.More() {
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return wrong("a user is not an object")
		}
		now := d.InputOffset()
		line += bytes.Count(data[counted:now], []byte{'\n'})
		counted = now
		row, err := object(d)
		if err != nil {
			return wrong(err.Error())
		}
		if err := r.row(line, func(c string) (string, bool) { v, ok := row[c]; return v, ok }); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return wrong("the list has no end")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return wrong("there is something after the end of the list")
	}
	return nil
}

// object reads the rest of one: text by key, and true or false for is_superuser.
func object(d *json.Decoder) (map[string]string, error) {
	row := make(map[string]string, len(columns))
	var keys []string
	for d.More() {
		k, err := d.Token()
		key, ok := k.(string)
		if err != nil || !ok {
			return nil, errors.New("the file is not JSON here")
		}
		keys = append(keys, key)
		v, err := d.Token()
		if err != nil {
			return nil, errors.New("the file is not JSON here")
		}
		switch v := v.(type) {
		case string:
			row[key] = v
		case bool:
			row[key] = fmt.Sprint(v)
		case nil:
		default:
			return nil, errors.New("a value is neither text nor true or false")
		}
		if _, isText := v.(string); !isText && v != nil && key != "is_superuser" {
			return nil, errors.New("a value is true or false where text belongs")
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("a user has no end")
	}
	return row, known(keys)
}
