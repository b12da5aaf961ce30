package config

import (
	"strconv"
	"strings"
)

// OriginKind says which layer a value came from; later ones win.
type OriginKind uint8

// The layers.
const (
	FromDefault OriginKind = iota
	FromRunTime            // set with redoubt config set
	FromFile
	FromEnv
	FromFlag
)

// Origin is where a value was written.
type Origin struct {
	Kind         OriginKind
	Name         string // file path, variable or flag; of FromRunTime when and by whom, "" if not known
	Line, Column int    // from 1, in a file; 0 if not known
}

// String is what config show --origin prints: default, set at run time with when and
// by whom, FILE:LINE, env NAME or flag NAME.
func (o Origin) String() string {
	switch o.Kind {
	case FromRunTime:
		return strings.TrimSpace("set at run time " + o.Name)
	case FromFile:
		if o.Line == 0 {
			return o.Name
		}
		return o.Name + ":" + strconv.Itoa(o.Line)
	case FromEnv:
		return "env " + o.Name
	case FromFlag:
		return "flag " + o.Name
	default:
		return "default"
	}
}

// Pinned tells whether an operator wrote the value in the file, the
// environment or a flag, so that nothing else may change it.
func (o Origin) Pinned() bool { return o.Kind >= FromFile }

// written tells whether somebody chose the value, wherever.
func (o Origin) written() bool { return o.Kind != FromDefault }

// place is the origin with its column, as compilers print it, so that editors
// can jump to it.
func (o Origin) place() string {
	s := o.String()
	if o.Kind == FromFile && o.Column > 0 {
		s += ":" + strconv.Itoa(o.Column)
	}
	return s
}
