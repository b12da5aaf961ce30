package bans

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// FileBytesMax bounds a file of bans, in bytes: Max of them with some text.
const FileBytesMax = 32 << 20

// problemsMax bounds what is said of one file.
const problemsMax = 10

// Row is a ban in EMQX's shape, in a file and in the API. Times are RFC 3339; until may be
// infinity.
type Row struct {
	As       string `json:"as" doc:"What it goes by." enum:"clientid,username,peerhost,peerhost_net,clientid_re,username_re"`
	Who      string `json:"who" doc:"Who is shut out."`
	Identity string `json:"identity,omitempty" doc:"Of a clientid: within this identity only."`
	By       string `json:"by,omitempty" doc:"Who made it."`
	Reason   string `json:"reason,omitempty" doc:"Why."`
	At       string `json:"at,omitempty" doc:"When it was made, as RFC 3339."`
	Until    string `json:"until,omitempty" doc:"When it ends, as RFC 3339, or infinity."`
}

// columns are those of a CSV file, in the order in which one is written.
var columns = []string{"as", "who", "reason", "at", "until", "by", "identity"}

// Row is the ban in that shape.
func (b *Ban) Row() Row {
	return Row{b.As.String(), b.Who, b.Identity, b.By, b.Reason, TimeText(b.At), UntilText(b.Until)}
}

// Ban is the row as a checked ban. What it leaves out is now and by.
func (r *Row) Ban(now time.Time, by string) (*Ban, error) {
	as, err := ParseAs(r.As)
	if err != nil {
		return nil, err
	}
	b := &Ban{As: as, Who: r.Who, Identity: r.Identity, By: r.By, Reason: r.Reason, At: now.Unix()}
	if b.By == "" {
		b.By = by
	}
	if r.At != "" {
		if b.At, err = parseTime("at", r.At); err != nil {
			return nil, err
		}
	}
	if b.Until, err = ParseUntil(r.Until); err != nil {
		return nil, err
	}
	return b, b.Check()
}

// FileError is what is wrong with a file of bans: a line for each.
type FileError struct{ Problems []string }

// Error is all of it.
func (e *FileError) Error() string { return strings.Join(e.Problems, "\n") }

// reader collects the bans of a file.
type reader struct {
	name     string
	now      time.Time
	by       string
	force    bool
	own      []Own
	list     []*Ban
	over     int
	seen     map[key]int // the line
	patterns int
	size     int  // instructions of them
	full     bool // has more than there may be
	problems []string
}

// Read reads a file of bans: JSON if its name ends in .json, else CSV with the names of the
// columns on its first line. It is all or nothing: the error is a *FileError that has the
// lines. Rows that are over are left out and counted. With force it may have bans that are
// Broad, or Reach any of own.
func Read(name string, data []byte, now time.Time, by string, force bool, own ...Own) (list []*Ban, over int, err error) {
	r := &reader{name: name, now: now, by: by, force: force, own: own, seen: make(map[key]int)}
	if len(data) > FileBytesMax {
		return nil, 0, &FileError{[]string{fmt.Sprintf("%s: has more than %d bytes", name, FileBytesMax)}}
	}
	if strings.HasSuffix(strings.ToLower(name), ".json") {
		r.json(data)
	} else {
		r.csv(data)
	}
	if len(r.problems) > 0 {
		return nil, 0, &FileError{r.problems}
	}
	return r.list, r.over, nil
}

func (r *reader) wrong(line int, format string, args ...any) {
	if len(r.problems) == problemsMax {
		r.problems = append(r.problems, "... and more")
	}
	if len(r.problems) > problemsMax {
		return
	}
	where := r.name
	if line > 0 {
		where = fmt.Sprintf("%s:%d", r.name, line)
	}
	r.problems = append(r.problems, where+": "+fmt.Sprintf(format, args...))
}

func (r *reader) row(line int, row *Row) {
	b, err := row.Ban(r.now, r.by)
	switch {
	case err != nil:
		r.wrong(line, "%v", err)
		return
	case b.Over(r.now):
		r.over++
		return
	case r.seen[b.key()] != 0:
		r.wrong(line, "%s %s stands on line %d already", b.As, shown(b.Who), r.seen[b.key()])
		return
	}
	if why := cmp.Or(b.Broad(), b.Reaches(r.own)); why != "" && !r.force {
		r.wrong(line, "%s %s: %s; redoubt ban add --force or ban import --force takes it", b.As, shown(b.Who), why)
		return
	}
	if b.As == ClientIDRe || b.As == UsernameRe {
		r.patterns++
		r.size += b.size
	}
	r.seen[b.key()] = line
	r.list = append(r.list, b)
	switch { // what is beyond is not even looked at: a file of 32 MiB may be gigabytes of patterns
	case len(r.list) > Max:
		r.wrong(line, "has more than %d bans", Max)
	case r.patterns > PatternsMax:
		r.wrong(line, "has more than %d patterns, each of which is tried on every client", PatternsMax)
	case r.size > InstructionsMax:
		r.wrong(line, "%s", tooLarge(r.size))
	default:
		return
	}
	r.full = true
}

// done tells whether nothing more is to be read.
func (r *reader) done() bool { return r.full || len(r.problems) > problemsMax }

func (r *reader) csv(data []byte) {
	c := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	c.ReuseRecord = true
	c.Comment = '#'
	head, err := c.Read()
	if err != nil {
		if !errors.Is(err, io.EOF) || len(bytes.TrimSpace(data)) > 0 {
			r.wrong(0, "%v", err)
		}
		return // an empty file bans nobody
	}
	head = slices.Clone(head)
	for i, h := range head {
		if !slices.Contains(columns, h) || slices.Contains(head[:i], h) {
			r.wrong(1, "column %s; the first line names the columns, which are %s", shown(h), strings.Join(columns, ","))
			return
		}
	}
	if !slices.Contains(head, "as") || !slices.Contains(head, "who") {
		r.wrong(1, "the first line names the columns, and as and who have to be there")
		return
	}
	for !r.done() {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil { // it has the line
			var p *csv.ParseError
			switch {
			case errors.Is(err, csv.ErrFieldCount) && errors.As(err, &p):
				r.wrong(p.Line, "%s where the first line has %s", counted(len(fields)), counted(len(head)))
				continue // the next line can be read
			case errors.As(err, &p):
				r.wrong(p.Line, "%v", p.Err)
			default:
				r.wrong(0, "%v", err)
			}
			return
		}
		line, _ := c.FieldPos(0)
		var row Row
		for i, text := range fields {
			*row.field(head[i]) = strings.Clone(text)
		}
		r.row(line, &row)
	}
}

func counted(columns int) string {
	if columns == 1 {
		return "1 column"
	}
	return fmt.Sprintf("%d columns", columns)
}

func (r *Row) field(name string) *string {
	switch name {
	case "as":
		return &r.As
	case "who":
		return &r.Who
	case "identity":
		return &r.Identity
	case "by":
		return &r.By
	case "reason":
		return &r.Reason
	case "at":
		return &r.At
	}
	return &r.Until
}

// json reads a list of rows, or {"data": list}, which may have the "meta" of EMQX's pages.
func (r *reader) json(data []byte) {
	line, upTo := 1, int64(0)
	at := func(offset int64) int { // of the file; offsets only grow
		line += bytes.Count(data[upTo:offset], []byte("\n"))
		upTo = offset
		return line
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	open := func(want json.Delim) bool {
		t, err := dec.Token()
		if err == nil && t != want {
			err = errors.New(`want a list of bans, or {"data": [...]}`)
		}
		if err != nil {
			r.wrong(at(dec.InputOffset()), "%s", jsonWords(err))
		}
		return err == nil
	}
	wrapped := bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
	if wrapped {
		if !open('{') {
			return
		}
		if name := pastMeta(dec); name != "data" {
			r.wrong(at(dec.InputOffset()), `want {"data": [...]}`)
			return
		}
	}
	if !open('[') {
		return
	}
	for dec.More() {
		start := dec.InputOffset()
		start += int64(len(data[start:]) - len(bytes.TrimLeft(data[start:], ", \t\r\n")))
		var row Row
		if err := dec.Decode(&row); err != nil {
			r.wrong(at(start), "%s", jsonWords(err))
			return // where the next begins is not known
		}
		r.row(at(start), &row)
		if r.done() {
			return
		}
	}
	if !open(']') {
		return
	}
	if wrapped {
		if name := pastMeta(dec); name != json.Delim('}') {
			r.wrong(at(dec.InputOffset()), "want the end of the object after its list")
			return
		}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		r.wrong(at(dec.InputOffset()), "something follows the list")
	}
}

// pastMeta is the next token of an object behind its "meta", if that comes next, or nil.
func pastMeta(dec *json.Decoder) json.Token {
	t, err := dec.Token()
	if err == nil && t == "meta" {
		var meta json.RawMessage
		if err = dec.Decode(&meta); err == nil {
			t, err = dec.Token()
		}
	}
	if err != nil {
		return nil
	}
	return t
}

// jsonWords says what is wrong with JSON in words that do not name Go's types.
func jsonWords(err error) string {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "the file ends before its list does"
	case errors.As(err, &kind) && kind.Field == "":
		return "a " + kind.Value + ` where a ban belongs, such as {"as": "clientid", "who": "pump-7"}`
	case errors.As(err, &kind):
		return kind.Field + " is a " + kind.Value + ", and has to be text"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
