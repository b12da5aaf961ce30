package lookup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/auth/template"
)

// jsonNode is a piece of a body: an object, a list, a text with placeholders, or what stays
// as it is. The body is built anew for each client, so that a value can be nothing but a text.
type jsonNode struct {
	open  byte // { or [; 0: no object and no list
	names []string
	list  []*jsonNode
	text  *template.Text
	plain string // a number, true, false, null
}

// bodyDepthMax is how deep a body may be nested.
const bodyDepthMax = 6

// readBody reads one. The error is the rest of a sentence that begins with the question.
func readBody(text string) (*jsonNode, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	n, err := readNode(d, bodyDepthMax)
	if err == nil && d.InputOffset() != int64(len(text)) {
		err = errors.New("has something behind its body")
	}
	if err == nil && n.open != '{' {
		err = errors.New(`has a body that is no JSON object. Write {"username": "${username}"}, say`)
	}
	return n, err
}

func readNode(d *json.Decoder, depth int) (*jsonNode, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errors.New("has a body that is not JSON. Placeholders stand inside quotes")
	}
	switch t := t.(type) {
	case string:
		text, err := template.Parse(t)
		return &jsonNode{text: text}, err
	case json.Delim:
		if depth == 0 {
			return nil, errors.New("has a body that is nested too deep")
		}
		return readBranch(d, byte(t), depth-1)
	}
	b, err := json.Marshal(t)
	return &jsonNode{plain: string(b)}, err
}

func readBranch(d *json.Decoder, open byte, depth int) (*jsonNode, error) {
	n := &jsonNode{open: open}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			key, is := name.(string)
			switch {
			case err != nil || !is:
				return nil, errors.New("has a body that is not JSON. Placeholders stand inside quotes")
			case seen[key]:
				return nil, fmt.Errorf("has %s twice in its body", shown(key))
			case strings.Contains(key, "${"):
				return nil, errors.New("has a placeholder in a name of its body. Only values differ from client to client")
			}
			seen[key] = true
			n.names = append(n.names, key)
		}
		child, err := readNode(d, depth)
		if err != nil {
			return nil, err
		}
		n.list = append(n.list, child)
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("has a body that is not JSON. Placeholders stand inside quotes")
	}
	return n, nil
}

// render appends the body for one client.
func (n *jsonNode) render(out []byte, v *template.Values) []byte {
	switch {
	case n.text != nil:
		return appendText(out, n.text.Render(v, nil))
	case n.open == 0:
		return append(out, n.plain...)
	}
	out = append(out, n.open)
	for i, child := range n.list {
		if i > 0 {
			out = append(out, ',')
		}
		if n.open == '{' {
			out = append(appendText(out, n.names[i]), ':')
		}
		out = child.render(out, v)
	}
	return append(out, n.open+2) // } and ] are two behind { and [
}

// appendText writes a text as JSON has it.
func appendText(out []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("BUG: a text is no JSON: " + err.Error())
	}
	return append(out, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

func (n *jsonNode) texts(all []*template.Text) []*template.Text {
	if n.text != nil {
		all = append(all, n.text)
	}
	for _, child := range n.list {
		all = child.texts(all)
	}
	return all
}
