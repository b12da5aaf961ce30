// Package directory finds small numbers, such as the slots of sessions, by hashes. It knows
// neither what they number nor what was hashed.
package directory

import "math"

// Directory finds a small number, such as the slot of a session, by the hash of a name that
// is kept elsewhere: it takes 10 to 15 bytes for each, where a map with the name in it takes
// 105. It is cut into parts that grow one at a time, so that none of a million names has
// anybody wait for the others to be moved; and it gives memory back.
//
// Who can choose names must not know their hashes: they come from hash/maphash, with a seed
// of the process. A Directory is not safe for concurrent use. The zero one is empty.
type Directory struct {
	parts [directoryParts]part
	n     int
}

// part is one of them: cells that are probed one after another from where the hash says.
type part struct {
	cells []cell
	n     int
}

// cell is half a hash, and the number after the one that was put; 0: it is free.
type cell struct{ tag, next uint32 }

const (
	directoryParts = 64
	cellsMin       = 8
	// A part is full at four fifths: who is there is found in three looks then.
	fullOf, fullAt = 5, 4
)

// NumberMax is the highest number that a directory takes.
const NumberMax = math.MaxUint32 - 1

// Len is how many numbers there are.
func (d *Directory) Len() int { return d.n }

// Room is how many cells there are.
func (d *Directory) Room() (cells int) {
	for i := range d.parts {
		cells += len(d.parts[i].cells)
	}
	return cells
}

func (d *Directory) part(hash uint64) (p *part, tag uint32) {
	return &d.parts[hash%directoryParts], uint32(hash >> 32) //nolint:gosec // the upper half
}

// Find is the number that was put with this hash and of which same says that it is meant.
func (d *Directory) Find(hash uint64, same func(number uint32) bool) (number uint32, ok bool) {
	p, tag := d.part(hash)
	if p.n == 0 {
		return 0, false
	}
	for i := p.home(tag); p.cells[i].next != 0; i = p.after(i) {
		if c := p.cells[i]; c.tag == tag && same(c.next-1) {
			return c.next - 1, true
		}
	}
	return 0, false
}

// Put adds a number, which must not be there with that hash.
func (d *Directory) Put(hash uint64, number uint32) {
	p, tag := d.part(hash)
	if (p.n+1)*fullOf > len(p.cells)*fullAt {
		p.resize(max(cellsMin, (p.n+1)*15/8))
	}
	p.add(cell{tag, number + 1})
	p.n++
	d.n++
}

// Expect makes room for so many in an empty one, so that it need not be moved while they come.
func (d *Directory) Expect(numbers int) {
	if d.n > 0 || numbers < directoryParts*cellsMin {
		return
	}
	for i := range d.parts {
		d.parts[i].resize(numbers / directoryParts * 3 / 2) // hashes are not quite even
	}
}

// Drop takes a number out and tells whether it was there.
func (d *Directory) Drop(hash uint64, number uint32) bool {
	p, tag := d.part(hash)
	if p.n == 0 {
		return false
	}
	i := p.home(tag)
	for p.cells[i] != (cell{tag, number + 1}) {
		if p.cells[i].next == 0 {
			return false
		}
		i = p.after(i)
	}
	p.close(i)
	p.n--
	d.n--
	switch {
	case p.n == 0:
		p.cells = nil
	case len(p.cells) > cellsMin && p.n*4 < len(p.cells):
		p.resize(max(cellsMin, p.n*2))
	}
	return true
}

// home is where a tag is looked for first. It grows with the tag, so that what is moved to
// other cells is moved in order.
func (p *part) home(tag uint32) int { return int(uint64(tag) * uint64(len(p.cells)) >> 32) } //nolint:gosec // less than len

func (p *part) after(i int) int {
	if i++; i == len(p.cells) {
		return 0
	}
	return i
}

func (p *part) add(c cell) {
	i := p.home(c.tag)
	for p.cells[i].next != 0 {
		i = p.after(i)
	}
	p.cells[i] = c
}

// close frees a cell, and moves back those after it that would not be found any more.
func (p *part) close(free int) {
	for i := p.after(free); p.cells[i].next != 0; i = p.after(i) {
		away := i - p.home(p.cells[i].tag)
		if away < 0 {
			away += len(p.cells)
		}
		gap := i - free
		if gap < 0 {
			gap += len(p.cells)
		}
		if away >= gap {
			p.cells[free] = p.cells[i]
			free = i
		}
	}
	p.cells[free] = cell{}
}

func (p *part) resize(cells int) {
	old := p.cells
	p.cells = make([]cell, cells)
	for _, c := range old {
		if c.next != 0 {
			p.add(c)
		}
	}
}
