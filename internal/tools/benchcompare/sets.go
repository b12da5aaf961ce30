package main

import (
	"fmt"
	"slices"
	"strings"
)

// set is rows of one subject, that can be asked for by its name.
type set struct {
	name string
	rows []row
	// asked says that they are measured only where they are asked for: they take long, and tell
	// how and not whether.
	asked bool
}

// sets are all rows, in the order of the table. Two may have one name.
var sets = []set{
	{name: "memory", rows: memoryRows},
	{name: "messages", rows: messageRows},
	{name: "connects", rows: connectRows},
	{name: "starts", rows: startRows},
	{name: "floods", rows: floodRows},
	{name: "latency", rows: latencyRows[:undisturbed]},
	{name: "latency", rows: latencyRows[undisturbed:], asked: true},
	{name: "growth", rows: growthRows, asked: true},
	{name: "isolation", rows: isolationRows, asked: true},
}

// rows are all of them.
var rows = func() (out []row) {
	for _, s := range sets {
		out = append(out, s.rows...)
	}
	return out
}()

func rowNames() []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

func setNames() []string {
	var names []string
	for _, s := range sets {
		names = append(names, s.name)
	}
	return slices.Compact(names)
}

// everything is the name of all sets.
const everything = "all"

// choose finds rows by their names and those of sets, in the order of the table.
func choose(names string) ([]row, error) {
	wanted := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })
	for _, n := range wanted {
		if !slices.Contains(rowNames(), n) && !slices.Contains(setNames(), n) && n != everything {
			return nil, fmt.Errorf("there is no row %q; there are %s; or, all of a subject, %s; or %s", n, strings.Join(rowNames(), ", "), strings.Join(setNames(), ", "), everything)
		}
	}
	var out []row
	for _, s := range sets {
		whole := names == "" && !s.asked || slices.Contains(wanted, s.name) || slices.Contains(wanted, everything)
		for _, r := range s.rows {
			if whole || slices.Contains(wanted, r.name) {
				out = append(out, r)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no row is named; there are %s; or, all of a subject, %s; or %s", strings.Join(rowNames(), ", "), strings.Join(setNames(), ", "), everything)
	}
	return out, nil
}
