package mqtt

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "record what the code does into testdata; review the diff")

// vector is one case of a testdata file: a head of "key value" lines, a line of
// dashes, and what comes out. Cases are separated by empty lines; lines with a #
// in front of a case are its comment.
//
//	name     what is tried
//	version  of the connection: 3.1, 3.1.1, 5.0, or none before CONNECT
//	from     client or server, which is who sent it
//	rule     the statement at stake; a refusal that cites another one fails
//	hex      the packet; may be given more than once
type vector struct {
	comment    []string
	name       string
	version    Version
	fromServer bool
	rule       string
	hex        []string
	in         []byte
	out        string
}

var vectorVersions = map[string]Version{"none": 0, "3.1": V31, "3.1.1": V311, "5.0": V5}

// vectorLimits are small, so that a vector can go over them.
var vectorLimits = Limits{UserProperties: 3, Filters: 3}

func readVectors(tb testing.TB, file string) []*vector {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var vs []*vector
	for i, block := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
		v, err := parseVector(block)
		if err != nil {
			tb.Fatalf("%s: case %d: %v", file, i+1, err)
		}
		vs = append(vs, v)
	}
	return vs
}

func parseVector(block string) (*vector, error) {
	v := &vector{}
	head, out, ok := strings.Cut(block, "\n----")
	if !ok {
		return nil, fmt.Errorf("no ---- in %q", block)
	}
	v.out = strings.TrimSpace(out)
	for line := range strings.Lines(head) {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, " ")
		value = strings.TrimSpace(value)
		switch key {
		case "#":
			v.comment = append(v.comment, line)
		case "name":
			v.name = value
		case "version":
			if v.version, ok = vectorVersions[value]; !ok {
				return nil, fmt.Errorf("unknown version %q", value)
			}
		case "from":
			if value != "client" && value != "server" {
				return nil, fmt.Errorf("from %q", value)
			}
			v.fromServer = value == "server"
		case "rule":
			v.rule = value
		case "hex":
			b, err := hex.DecodeString(strings.ReplaceAll(value, " ", ""))
			if err != nil {
				return nil, err
			}
			v.hex = append(v.hex, value)
			v.in = append(v.in, b...)
		default:
			return nil, fmt.Errorf("unknown line %q", line)
		}
	}
	return v, nil
}

func (v *vector) String() string {
	var b strings.Builder
	for _, c := range v.comment {
		b.WriteString(c + "\n")
	}
	fmt.Fprintf(&b, "name %s\n", v.name)
	for name, version := range vectorVersions {
		if version == v.version {
			fmt.Fprintf(&b, "version %s\n", name)
		}
	}
	from := "client"
	if v.fromServer {
		from = "server"
	}
	fmt.Fprintf(&b, "from %s\nrule %s\n", from, v.rule)
	for _, h := range v.hex {
		fmt.Fprintf(&b, "hex %s\n", h)
	}
	return b.String() + "----\n" + v.out + "\n"
}

// run says what becomes of the packet.
func (v *vector) run() string {
	p, n, err := decodePacket(v.in, v.version, v.fromServer, vectorLimits)
	switch {
	case err != nil:
		out := describeError(err)
		if c, ok := p.(*Connect); ok && c.Version != 0 {
			out += "; answer as " + c.Version.String()
		}
		return out
	case n == 0:
		return "more bytes needed"
	case n < len(v.in):
		return fmt.Sprintf("%s; %d bytes follow", describe(p), len(v.in)-n)
	}
	return describe(p)
}

// vectorFiles are the files of vectors; the table of properties has a form of its
// own.
func vectorFiles(tb testing.TB) []string {
	files, err := filepath.Glob("testdata/*.txt")
	files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "properties.txt" })
	if err != nil || len(files) == 0 {
		tb.Fatalf("no vectors: %v", err)
	}
	return files
}

// TestVectors decodes every vector and compares with what is written below it.
// What was accepted must survive encoding and decoding again.
func TestVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range vectorFiles(t) {
		vs := readVectors(t, file)
		for _, v := range vs {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+v.name, func(t *testing.T) {
				if seen[v.name] || v.name == "" {
					t.Errorf("name %q is missing or used twice", v.name)
				}
				seen[v.name] = true
				v.check(t)
			})
		}
		if *rewrite {
			writeVectors(t, file, vs)
		}
	}
}

func (v *vector) check(t *testing.T) {
	got := v.run()
	if *rewrite {
		v.out = got
	} else if got != v.out {
		t.Errorf("hex  %s\ngot  %s\nwant %s", strings.Join(v.hex, " "), got, v.out)
	}
	p, n, err := decodePacket(v.in, v.version, v.fromServer, vectorLimits)
	if e, ok := err.(*Error); ok && e.Rule != v.rule {
		t.Errorf("refused by %q, the vector is about %q", e.Rule, v.rule)
	}
	if err == nil && n > 0 {
		if err := sameAgain(p, v.version, v.fromServer); err != nil {
			t.Error(err)
		}
	}
}

func writeVectors(t *testing.T, file string, vs []*vector) {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = v.String()
	}
	if err := os.WriteFile(file, []byte(strings.Join(parts, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestVectorsCoverEveryPacket keeps a packet type from being forgotten: each is
// accepted somewhere and refused somewhere.
func TestVectorsCoverEveryPacket(t *testing.T) {
	accepted, refused := map[Type]bool{}, map[Type]bool{}
	for _, file := range vectorFiles(t) {
		for _, v := range readVectors(t, file) {
			if len(v.in) == 0 {
				continue
			}
			kind := Type(v.in[0] >> 4)
			if strings.HasPrefix(v.out, "refused") {
				refused[kind] = true
			} else {
				accepted[kind] = true
			}
		}
	}
	for k := CONNECT; k <= AUTH; k++ {
		if !accepted[k] || !refused[k] {
			t.Errorf("%s: accepted by a vector: %v, refused by a vector: %v", k, accepted[k], refused[k])
		}
	}
}

// TestEveryTruncationIsRefused cuts every accepted vector after every byte, with
// the remaining length made to fit. Only what the standards let end early may
// pass: the payload of PUBLISH, lists that may be shorter, and the answers of 5.0
// that leave out their tail. Nothing may panic.
func TestEveryTruncationIsRefused(t *testing.T) {
	for _, file := range vectorFiles(t) {
		for _, v := range readVectors(t, file) {
			h, ok, err := ReadHeader(v.in, v.version)
			if !ok || err != nil || h.Remaining != len(v.in)-h.Size || strings.HasPrefix(v.out, "refused") {
				continue
			}
			body := v.in[h.Size:]
			for n := range body {
				cut := append(appendVarint([]byte{v.in[0]}, n), body[:n]...)
				_, _, err := decodePacket(cut, v.version, v.fromServer, vectorLimits)
				if h.Type == CONNECT && err == nil {
					t.Errorf("%s: cut to %d bytes it was accepted", v.name, n)
				}
			}
			longer := append(appendVarint([]byte{v.in[0]}, len(body)+1), append(body[:len(body):len(body)], 0xFF)...)
			if _, _, err := decodePacket(longer, v.version, v.fromServer, vectorLimits); err == nil && h.Type != PUBLISH {
				t.Errorf("%s: accepted with one more byte", v.name)
			}
		}
	}
}
