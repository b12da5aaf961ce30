package session

// ring is a first-in first-out queue that grows from eight by doubling and lets
// go of its memory when it is empty, so that an idle session holds none. The
// zero ring is ready. The bound on its length is its user's.
type ring[T any] struct {
	buf  []T // length is a power of two, or nil
	head uint32
	n    uint32
}

const ringMin = 8

func (r *ring[T]) len() int { return int(r.n) }

func (r *ring[T]) push(v T) {
	if int(r.n) == len(r.buf) {
		r.grow()
	}
	r.buf[(r.head+r.n)&r.mask()] = v
	r.n++
}

// front is the oldest element; the ring must not be empty.
func (r *ring[T]) front() *T { return &r.buf[r.head] }

// at is the i-th oldest element.
func (r *ring[T]) at(i int) *T { return &r.buf[(r.head+uint32(i))&r.mask()] } //nolint:gosec // less than n

func (r *ring[T]) mask() uint32 { return uint32(len(r.buf) - 1) } //nolint:gosec // its users bound it far below

// pop takes the oldest element; the ring must not be empty.
func (r *ring[T]) pop() T {
	var zero T
	v := r.buf[r.head]
	r.buf[r.head] = zero // let the collector have what it pointed at
	r.head = (r.head + 1) & r.mask()
	r.n--
	if r.n == 0 {
		r.buf, r.head = nil, 0
	}
	return v
}

func (r *ring[T]) grow() {
	size := max(2*len(r.buf), ringMin)
	buf := make([]T, size)
	for i := range int(r.n) {
		buf[i] = *r.at(i)
	}
	r.buf, r.head = buf, 0
}
