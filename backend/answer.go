package backend

// AnswerBytesMax bounds the text of one answer. A hundred rules with long topics are a
// tenth of it.
const AnswerBytesMax = 1 << 20

// Answer collects rows within limits, for drivers.
type Answer struct {
	Rows  []Row
	Max   int // of rows
	bytes int
}

// Add takes a row, or says that there are too many: then the driver stops reading.
func (a *Answer) Add(r Row) error {
	for i := range r {
		a.bytes += len(r[i].Value)
	}
	switch {
	case len(a.Rows) >= a.Max:
		return Failed(Excess, "the answer has more than %d rows", a.Max)
	case a.bytes > AnswerBytesMax:
		return Failed(Excess, "the answer is longer than %d bytes", AnswerBytesMax)
	}
	a.Rows = append(a.Rows, r)
	return nil
}
