// Package secret holds values that must not be printed. A Value shows itself as
// [redacted] in every formatting verb, in JSON, YAML and structured logs; the
// one way to the bytes is Reveal, so that a search for that word finds every
// place that handles a credential in the clear.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// Redacted is what every formatter shows in place of a secret.
const Redacted = "[redacted]"

// Value is a credential. The zero Value is the empty secret. Copies share the
// bytes, which nobody changes after New.
type Value struct{ b []byte }

// New takes ownership of b: the caller must not change it afterwards.
func New(b []byte) Value { return Value{b} }

// FromString copies s.
func FromString(s string) Value { return Value{[]byte(s)} }

// Reveal is the only way to the bytes. The caller must neither keep nor change
// them.
func (v Value) Reveal() []byte { return v.b }

// Empty tells whether there is anything to reveal.
func (v Value) Empty() bool { return len(v.b) == 0 }

// Equal compares in time that depends on the lengths only.
func (v Value) Equal(o Value) bool { return subtle.ConstantTimeCompare(v.b, o.b) == 1 }

// Format implements fmt.Formatter, so that no verb, %#v and %x included,
// reaches the bytes.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// String implements fmt.Stringer.
func (Value) String() string { return Redacted }

// GoString implements fmt.GoStringer.
func (Value) GoString() string { return Redacted }

// MarshalText implements encoding.TextMarshaler, which encoding/json and the
// YAML encoder use.
func (Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON implements json.Marshaler.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalYAML implements yaml.Marshaler.
func (Value) MarshalYAML() (any, error) { return Redacted, nil }

// LogValue implements slog.LogValuer.
func (Value) LogValue() slog.Value { return slog.StringValue(Redacted) }
