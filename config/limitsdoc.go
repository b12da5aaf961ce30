package config

import (
	"bytes"
	"fmt"
	"strings"
)

const limitsHead = `# Limits

<!-- ` + generated + ` -->

Everything a client can make the broker hold, do or wait for has a limit. This is all of those an operator can set, with unit, default, range
and reason; [configuration.md](configuration.md) says how. A value inside its range needs no waiver. Limits are per client unless the name says
otherwise, and are judged before anything is allocated: the size of a packet by its fixed header, a connection before its handshake.

| Limit | Default | Range | Unit | Takes effect | Why |
| --- | --- | --- | --- | --- | --- |
`

// LimitsTable is docs/limits.md.
func LimitsTable() []byte {
	var b bytes.Buffer
	b.WriteString(limitsHead)
	for _, row := range Rows() {
		if !strings.HasPrefix(row.Key, "limits.") || row.Kind == KindSection {
			continue
		}
		span := row.Min + " to " + row.Max
		switch {
		case len(row.Values) > 0:
			span = strings.Join(row.Values, ", ")
		case row.Min == "" || row.Max == "":
			span = "see configuration.md"
		}
		unit := row.Unit
		if unit == "" {
			unit = unitOf(row.Kind)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s |\n", strings.TrimPrefix(row.Key, "limits."), row.Default, span, unit, row.Reload, markdown(row.Why))
	}
	return b.Bytes()
}

// unitOf names what the value itself carries.
func unitOf(k Kind) string {
	switch k {
	case KindSize, KindAutoSize:
		return "bytes"
	case KindSeconds, KindDuration:
		return "time"
	}
	return "-"
}
