package metrics

// ID names one series of the catalogue. IDs are handed out when the program
// starts, in the order of the table; they are not stable between versions and
// never leave the process. The names are.
type ID int

// kind is the Prometheus type of a series.
type kind byte

const (
	counter kind = iota // only ever grows
	gauge               // goes up and down
)

func (k kind) String() string {
	if k == gauge {
		return "gauge"
	}
	return "counter"
}

// series is one row of the catalogue.
type series struct {
	name, help   string
	kind         kind
	label, value string // at most one label, whose value is fixed here
	micros       bool   // kept in millionths of the unit
}

// catalogue holds every series, indexed by ID. It is filled while the package
// initialises and never afterwards.
var catalogue []series

// family is what several series share: one name, one help text.
type family struct {
	name, help string
	kind       kind
}

func (f family) add(label, value string) ID {
	catalogue = append(catalogue, series{name: f.name, help: f.help, kind: f.kind, label: label, value: value})
	return ID(len(catalogue) - 1)
}

// of adds the series of f with this label value.
func (f family) of(label, value string) ID { return f.add(label, value) }

// each adds one series per value; base is the number the first one stands for.
func (f family) each(label string, base int, values ...string) Range {
	r := Range{base: base, ids: make([]ID, len(values))}
	for i, v := range values {
		r.ids[i] = f.add(label, v)
	}
	return r
}

// count adds a counter without labels.
func count(name, help string) ID { return family{name, help, counter}.add("", "") }

// level adds a gauge without labels.
func level(name, help string) ID { return family{name, help, gauge}.add("", "") }

// short adds a gauge of seconds without labels, which is kept in microseconds.
func short(name, help string) ID {
	id := level(name, help)
	catalogue[id].micros = true
	return id
}

// Range is a run of series indexed by a number the protocol already has: a
// packet type, a QoS.
type Range struct {
	base int
	ids  []ID
}

// At is the series for i. A number outside the range is counted with the
// nearest one: a number a peer sent must not be able to panic.
func (r Range) At(i int) ID {
	return r.ids[min(max(i-r.base, 0), len(r.ids)-1)]
}
