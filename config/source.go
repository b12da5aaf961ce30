package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/redoubtmq/redoubt/internal/safefile"
)

// Bounds of what is read. A configuration of a thousand listeners is 200 KiB;
// a private key is 4 KiB.
const (
	FileBytesMax   = 1 << 20
	SecretBytesMax = 64 << 10
)

// readRegular reads a file of at most max bytes. Symbolic links are followed,
// because that is how secret volumes are mounted; devices, pipes and sockets
// are refused, because reading them may never end.
func readRegular(path string, max int64) ([]byte, error) {
	b, err := safefile.Read(path, max)
	switch {
	case errors.Is(err, safefile.ErrNotRegular):
		return nil, errors.New("is not a regular file")
	case errors.Is(err, safefile.ErrTooLarge):
		return nil, fmt.Errorf("is larger than %v", Size(max))
	case err != nil:
		return nil, plainly(err)
	}
	return b, nil
}

// plainly drops the operation and the path, which the caller has said already.
func plainly(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("may not be read by this user")
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("cannot be read (%w)", err)
}

// yamlLine finds the line in the parser's message, which has no field for it.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// parseYAML returns the one document of a file, or nil when it is empty. The
// parser expands no alias; the decoder counts what it visits instead.
func parseYAML(data []byte, name string) (*yaml.Node, *Problem) {
	if len(data) > FileBytesMax {
		return nil, &Problem{Origin: Origin{Kind: FromFile, Name: name}, What: "The file is larger than 1MiB."}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, yamlProblem(err, data, name)
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return nil, &Problem{Origin: Origin{Kind: FromFile, Name: name, Line: second.Line, Column: second.Column},
			What: "A second document begins here. One file is one configuration: remove the line ---."}
	} else if err != io.EOF {
		return nil, yamlProblem(err, data, name)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// yamlProblem turns the parser's error into one with a place, and explains the
// commonest of them, a tab, which is invisible.
func yamlProblem(err error, data []byte, name string) *Problem {
	p := &Problem{Origin: Origin{Kind: FromFile, Name: name}}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Origin.Line, _ = strconv.Atoi(m[1])
		p.What = "This is not YAML: " + m[2] + "."
	} else {
		p.What = "This is not YAML: " + err.Error() + "."
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if col := bytes.IndexByte(indent, '\t'); col >= 0 && len(indent) < len(line) {
			p.Origin.Line, p.Origin.Column = i+1, col+1
			p.What = "This is not YAML: a tab indents this line. Use spaces."
			break
		}
	}
	p.What = strings.ToValidUTF8(p.What, "?")
	return p
}
