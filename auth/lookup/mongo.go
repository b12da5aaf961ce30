package lookup

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
)

// mongoQuery is a find of which some texts in the filter are different from client to client.
type mongoQuery struct {
	text string           // collection?fields?order?filter, with numbers where args go
	args []*template.Text // each is a text, whatever is in it
}

// mongoRules are one rule in each document.
type mongoRules struct{ mongoQuery }

// mongoDefaults are the fields of an account where the query names none.
const mongoDefaults = "password_hash,salt,is_superuser"

// Mongo reads collection?fields?filter, with a filter in JSON as MongoDB has it. A field may
// have the name of a column before it: password_hash:pwd. The error is the rest of a sentence
// that begins with the query.
func Mongo(text string) (Query, error) {
	q, fields, _, err := readMongo(text)
	if err != nil {
		return nil, err
	}
	if fields == "" {
		fields = mongoDefaults
	}
	q.set(fields, "")
	return *q, nil
}

// MongoRules is Mongo for rules, which come in the order of _id. Without fields each document
// is a rule with all that it has, but for _id and the fields that the filter looks at. Those
// that say what the rule is belong to it also where the filter looks at them.
func MongoRules(text string) (Query, error) {
	q, fields, looked, err := readMongo(text)
	if err != nil {
		return nil, err
	}
	if fields == "" {
		fields = "*,-_id"
		for _, name := range looked {
			fields += ",-" + name
		}
	} else {
		var list []string
		for _, f := range strings.Split(fields, ",") {
			f = strings.TrimSpace(f)
			column, path, named := strings.Cut(f, ":")
			if !named {
				path = column
			}
			if slices.Contains([]string{columnTopic, columnTopics, columnQoS}, column) {
				column += backend.ManyValues
			}
			list = append(list, column+":"+path)
		}
		fields = strings.Join(list, ",")
	}
	q.set(fields, "_id")
	return mongoRules{*q}, nil
}

func (q *mongoQuery) set(fields, order string) {
	collection, filter, _ := strings.Cut(q.text, "?")
	q.text = collection + "?" + fields + "?" + order + "?" + filter
}

// Question implements Query.
func (q mongoQuery) Question(v *template.Values) backend.Question {
	args := make([]string, len(q.args))
	for i, a := range q.args {
		args[i] = a.Render(v, nil)
	}
	return backend.Question{Text: q.text, Args: args}
}

// Uses implements Query.
func (q mongoQuery) Uses(name string) bool {
	return slices.ContainsFunc(q.args, func(t *template.Text) bool { return t.Uses(name) })
}

var (
	mongoCollection = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}$`)
	mongoFields     = regexp.MustCompile(`^([A-Za-z0-9_]+:)?[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// mongoOperators are those that compare values. The others make a text a pattern, a program or
// the name of a field, which a client would then choose.
var mongoOperators = []string{"$and", "$or", "$nor", "$not", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$all", "$size", "$elemMatch"}

// readMongo reads a query; looked are the fields that its filter looks at.
func readMongo(text string) (q *mongoQuery, fields string, looked []string, err error) {
	parts := strings.SplitN(text, "?", 3)
	if len(parts) != 3 {
		return nil, "", nil, errors.New(`has not three parts with a ? between: collection?fields?filter, such as mqtt_user?password_hash,salt?{"username": "${username}"}`)
	}
	if !mongoCollection.MatchString(parts[0]) {
		return nil, "", nil, errors.New("does not begin with the name of a collection: letters, digits, _, - and dots")
	}
	fields = strings.TrimSpace(parts[1])
	for _, f := range strings.Split(fields, ",") {
		if f = strings.TrimSpace(f); fields != "" && !mongoFields.MatchString(f) {
			return nil, "", nil, fmt.Errorf("has a field %s, which is none. Write NAME, or COLUMN:NAME", shown(f))
		}
	}
	r := &mongoReader{d: json.NewDecoder(strings.NewReader(parts[2]))}
	r.d.UseNumber()
	t, err := r.d.Token()
	if err != nil || t != json.Delim('{') || !json.Valid([]byte(parts[2])) {
		return nil, "", nil, errors.New(`has a filter that is no object in JSON. Write {"username": "${username}"}, say`)
	}
	if err := r.object(0, true); err != nil {
		return nil, "", nil, err
	}
	return &mongoQuery{text: parts[0] + "?" + r.out.String(), args: r.args}, fields, r.looked, nil
}

// mongoReader copies a filter and takes placeholders out of it.
type mongoReader struct {
	d      *json.Decoder
	out    strings.Builder
	args   []*template.Text
	looked []string // the fields of the document itself
}

// mongoRule are the fields of a rule: without one it is another rule, and a wider one.
var mongoRule = []string{columnPermission, columnAction, columnTopic, columnTopics, columnQoS, columnRetain, columnAddress}

// filterDepth is how deep a filter may be nested.
const filterDepth = 8

// object copies the rest of one, of which the brace was read. own tells that its names are
// fields of the document itself, and not of what is in one.
func (r *mongoReader) object(depth int, own bool) error {
	if depth > filterDepth {
		return errors.New("has a filter that is nested too deep")
	}
	r.out.WriteByte('{')
	seen := map[string]bool{}
	for r.d.More() {
		t, err := r.d.Token()
		name, is := t.(string)
		switch {
		case err != nil || !is:
			return errors.New("has a filter that is no JSON")
		case seen[name]:
			return fmt.Errorf("has %s twice in its filter, of which one would be lost", shown(name))
		case strings.Contains(name, "${"):
			return errors.New("has a placeholder where its filter has the name of a field. Only values may differ from client to client")
		case strings.HasPrefix(name, "$") && !slices.Contains(mongoOperators, name):
			return fmt.Errorf("has %s, which is none of the operators that are taken: %s. The others make a pattern or a program of what a client chose", shown(name), strings.Join(mongoOperators, ", "))
		case strings.ContainsRune(name, 0) || len(name) > 255:
			return errors.New("has a name in its filter that is none")
		}
		if len(seen) > 0 {
			r.out.WriteByte(',')
		}
		seen[name] = true
		if own && !strings.HasPrefix(name, "$") {
			top, _, _ := strings.Cut(name, ".")
			if !slices.Contains(r.looked, top) && !slices.Contains(mongoRule, top) && !strings.ContainsAny(top, ",?") {
				r.looked = append(r.looked, top)
			}
		}
		key, _ := json.Marshal(name)
		r.out.Write(key)
		r.out.WriteByte(':')
		if err := r.value(depth, own && slices.Contains([]string{"$and", "$or", "$nor"}, name)); err != nil {
			return err
		}
	}
	r.out.WriteByte('}')
	_, err := r.d.Token()
	return err
}

func (r *mongoReader) value(depth int, own bool) error {
	t, err := r.d.Token()
	if err != nil {
		return errors.New("has a filter that is no JSON")
	}
	switch t := t.(type) {
	case string:
		return r.text(t)
	case json.Delim:
		if t == '{' {
			return r.object(depth+1, own)
		}
		if depth > filterDepth {
			return errors.New("has a filter that is nested too deep")
		}
		r.out.WriteByte('[')
		for i := 0; r.d.More(); i++ {
			if i > 0 {
				r.out.WriteByte(',')
			}
			if err := r.value(depth+1, own); err != nil {
				return err
			}
		}
		r.out.WriteByte(']')
		_, err := r.d.Token()
		return err
	}
	b, err := json.Marshal(t)
	r.out.Write(b)
	return err
}

// text copies one, or puts a number in place of one that has placeholders.
func (r *mongoReader) text(s string) error {
	parsed, err := template.Parse(s)
	if err != nil {
		return err
	}
	if parsed.Uses(template.Password) {
		return errors.New("has ${password}, which the back end does not need: its hash is read and compared here")
	}
	if _, literal := parsed.Literal(); literal {
		b, err := json.Marshal(s)
		r.out.Write(b)
		return err
	}
	r.out.WriteString(`{"$arg":` + strconv.Itoa(len(r.args)) + `}`)
	r.args = append(r.args, parsed)
	return nil
}
