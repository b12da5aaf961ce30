package fact

const bitGone = 1 << 0

// Append appends the encoding to dst. Content counts only if the value is not gone.
func (v *Value) Append(dst []byte) []byte {
	dst = appendString(append(dst, format, flag(v.Gone, bitGone)), v.Name)
	if v.Gone {
		return dst
	}
	return appendString(dst, v.Content)
}

// Decode reads a whole body into v, of which Content is a part of b. After an error v
// is no value.
func (v *Value) Decode(b []byte) error {
	d := body(b)
	*v = Value{Gone: d.flags(bitGone)&bitGone != 0, Name: d.string("the name")}
	if !v.Gone {
		v.Content = d.bytes("the content")
	}
	return d.end("value")
}

// Append appends the encoding to dst.
func (m *Mark) Append(dst []byte) []byte { return appendString(append(dst, format), m.Node) }

// Decode reads a whole body into m. After an error m is no mark.
func (m *Mark) Decode(b []byte) error {
	d := body(b)
	m.Node = d.string("the node")
	return d.end("mark")
}
