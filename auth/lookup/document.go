package lookup

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/backend"
)

// columnTopics is columnTopic where there may be several.
const columnTopics = "topics"

// rowsOfJSON reads one rule, or a list of them, as EMQX writes them. The error is the rest of
// a sentence that begins with the text, and has nothing of it.
func rowsOfJSON(text string) (rows []backend.Row, err error) {
	if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
		return nil, errors.New("is no JSON")
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	t, err := d.Token()
	switch {
	case err != nil:
		return nil, errors.New("is no JSON")
	case t == json.Delim('{'):
		row, err := jsonRule(d)
		if err != nil {
			return nil, err
		}
		return spread(row)
	case t != json.Delim('['):
		return nil, errors.New("is neither a rule nor a list of rules")
	}
	for d.More() {
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return nil, errors.New("has something in its list that is no rule")
		}
		row, err := jsonRule(d)
		if err != nil {
			return nil, err
		}
		of, err := spread(row)
		if err != nil {
			return nil, err
		}
		if rows = append(rows, of...); len(rows) > auth.OwnMax {
			return nil, fmt.Errorf("has more than %d rules", auth.OwnMax)
		}
	}
	return rows, nil
}

// jsonRule reads the object that d stands in. A list becomes a field for each of its values.
func jsonRule(d *json.Decoder) (row backend.Row, err error) {
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, is := t.(string)
		if err != nil || !is {
			return nil, errors.New("is no JSON")
		}
		if seen[name] { // of which one reader takes the first and another the last
			return nil, fmt.Errorf("has %s twice in a rule", shown(name))
		}
		seen[name] = true
		if t, err = d.Token(); err != nil {
			return nil, errors.New("is no JSON")
		}
		if t != json.Delim('[') {
			f, err := scalar(name, t)
			if err != nil {
				return nil, err
			}
			row = append(row, f)
			continue
		}
		n := 0
		for ; d.More(); n++ {
			if t, err = d.Token(); err != nil {
				return nil, errors.New("is no JSON")
			}
			f, err := scalar(name, t)
			if err != nil {
				return nil, err
			}
			row = append(row, f)
		}
		if n == 0 {
			return nil, fmt.Errorf("has an empty list in %s", shown(name))
		}
		if _, err = d.Token(); err != nil {
			return nil, errors.New("is no JSON")
		}
	}
	_, err = d.Token()
	return row, err
}

func scalar(name string, t json.Token) (f backend.Field, err error) {
	f.Name = name
	switch t := t.(type) {
	case nil:
		f.Null = true
	case string:
		f.Value = t
	case json.Number:
		f.Value = t.String()
	case bool:
		f.Value = fmt.Sprint(t)
	default:
		return f, fmt.Errorf("has something in %s that is neither a value nor a list of values", shown(name))
	}
	return f, nil
}

// spread makes a row for each topic of a rule that is a document: topic and topics are one
// or several, and of qos there may be several, too.
func spread(rule backend.Row) (rows []backend.Row, err error) {
	var others, topics backend.Row
	qos := -1
	for _, f := range rule {
		switch {
		case f.Name == columnTopic || f.Name == columnTopics:
			f.Name = columnTopic
			topics = append(topics, f)
		case f.Name == columnQoS && qos >= 0:
			if f.Null || others[qos].Null {
				return nil, fmt.Errorf("has nothing in a list of %s", columnQoS)
			}
			others[qos].Value += "," + f.Value
		default:
			if f.Name == columnQoS {
				qos = len(others)
			}
			others = append(others, f)
		}
	}
	if len(topics) == 0 {
		return nil, fmt.Errorf("has a rule without %s", columnTopic)
	}
	if len(topics) > auth.OwnMax {
		return nil, fmt.Errorf("has a rule with more than %d topics", auth.OwnMax)
	}
	for _, t := range topics {
		rows = append(rows, append(append(make(backend.Row, 0, len(others)+1), others...), t))
	}
	return rows, nil
}
