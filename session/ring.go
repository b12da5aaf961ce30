package session

// ring is a first-in first-out queue that grows from eight by doubling and lets
// go of its memory when it is empty, so that an idle session holds none but a
// pointer: 24 bytes less than the slice and the numbers, three times in every
// session. The zero ring is ready. The bound on its length is its user's.
type ring[T any] struct {
	in *ringed[T] // nil: it is empty
}

// ringed is a ring that is not empty.
type ringed[T any] struct {
	buf  []T // length is a power of two
	head uint32
	n    uint32
}

// short is a ring's first memory, in one piece.
type short[T any] struct {
	ringed[T]
	first [ringMin]T
}

const ringMin = 8

func (r ring[T]) len() int {
	if r.in == nil {
		return 0
	}
	return int(r.in.n)
}

// room is how many elements it has memory for.
func (r ring[T]) room() int {
	if r.in == nil {
		return 0
	}
	return len(r.in.buf)
}

func (r *ring[T]) push(v T) {
	switch {
	case r.in == nil:
		s := new(short[T])
		s.buf = s.first[:]
		r.in = &s.ringed
	case int(r.in.n) == len(r.in.buf):
		r.grow()
	}
	in := r.in
	in.buf[(in.head+in.n)&in.mask()] = v
	in.n++
}

// front is the oldest element; the ring must not be empty.
func (r ring[T]) front() *T { return &r.in.buf[r.in.head] }

// at is the i-th oldest element.
func (r ring[T]) at(i int) *T { return r.in.at(i) }

func (in *ringed[T]) at(i int) *T { return &in.buf[(in.head+uint32(i))&in.mask()] } //nolint:gosec // less than n

func (in *ringed[T]) mask() uint32 { return uint32(len(in.buf) - 1) } //nolint:gosec // its users bound it far below

// pop takes the oldest element; the ring must not be empty.
func (r *ring[T]) pop() T {
	var zero T
	in := r.in
	v := in.buf[in.head]
	in.buf[in.head] = zero // let the collector have what it pointed at
	in.head = (in.head + 1) & in.mask()
	in.n--
	if in.n == 0 {
		r.in = nil
	}
	return v
}

// grow moves to memory of twice the size, and leaves a short one as a whole.
func (r *ring[T]) grow() {
	old := r.in
	buf := make([]T, 2*len(old.buf))
	for i := range int(old.n) {
		buf[i] = *old.at(i)
	}
	r.in = &ringed[T]{buf: buf, n: old.n}
}
