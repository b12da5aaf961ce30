package main

import (
	"bytes"
	"encoding/json"
	"io"
)

// event is one line of `go test -json` (see `go doc test2json`), with the name
// of the pass it belongs to added by `testsum stream`.
type event struct {
	Action      string  `json:",omitempty"`
	Package     string  `json:",omitempty"`
	ImportPath  string  `json:",omitempty"` // of build-output and build-fail
	Test        string  `json:",omitempty"`
	Elapsed     float64 `json:",omitempty"` // seconds
	Output      string  `json:",omitempty"`
	FailedBuild string  `json:",omitempty"` // import path whose build failed
	Pass        string  `json:",omitempty"`
}

// parse reads one line; ok is false when it is not an event.
func parse(line []byte) (e event, ok bool) {
	if line = bytes.TrimSpace(line); len(line) == 0 || line[0] != '{' {
		return e, false
	}
	return e, json.Unmarshal(line, &e) == nil && e.Action != ""
}

// emitter writes events.
type emitter struct{ enc *json.Encoder }

func newEmitter(w io.Writer) *emitter { return &emitter{json.NewEncoder(w)} }

func (e *emitter) emit(ev event) { _ = e.enc.Encode(ev) }
