// Package shrink lets a map give its memory back after a crowd has left. Go's maps
// never do: a delete frees a place and no memory, so that a table of a million
// peers stays as large for ever. It is not a map of its own and holds nothing.
package shrink

import "maps"

const (
	// least entries that are worth anything; below it a map is some KiB.
	least = 1024
	// part of its most entries that a map has left when it is made anew: seldom
	// enough that all the copying is a sixteenth of the deleting.
	part = 16
)

// Most is how many entries a map has had at once since it was made. The zero Most
// is a new map's.
type Most int

// Note remembers how many entries there are. Map does so by itself; it is for
// whoever deletes many before calling it.
func (m *Most) Note(entries int) { *m = max(*m, Most(entries)) }

// Map is called after a delete from m and answers the map to go on with: m, or
// a copy of the right size when m is nearly empty. The caller holds whatever lock
// guards m. A copy takes some 50 ns for each entry that is left.
func Map[K comparable, V any](m map[K]V, most *Most) map[K]V {
	most.Note(len(m) + 1) // a map is at its largest before a delete
	if *most < least || len(m) > int(*most)/part {
		return m
	}
	*most = Most(len(m))
	small := make(map[K]V, len(m))
	maps.Copy(small, m)
	return small
}
