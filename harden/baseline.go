package harden

import (
	"fmt"
	"slices"
	"strings"
)

// Baseline is what kind of node is judged: rows and figures that depend on it.
type Baseline string

// The baselines. Empty means Internet.
const (
	// Edge is a small node of its own beside the machines it serves.
	Edge Baseline = "edge"
	// Internet is a node of its own that anybody can reach.
	Internet Baseline = "internet"
	// Cluster is one of several nodes, each of which can be asked to take the clients of
	// the others.
	Cluster Baseline = "cluster"
)

// Baselines lists them.
var Baselines = []Baseline{Edge, Internet, Cluster}

// ParseBaseline reads one.
func ParseBaseline(text string) (Baseline, error) {
	if b := Baseline(text); slices.Contains(Baselines, b) {
		return b, nil
	}
	return "", fmt.Errorf("%q: it is edge, internet or cluster", printable(text))
}

// edgeConnections is what an edge node is taken to be for where limits.connections_total is
// auto: the open file limit allows far more than anybody plans for a small machine.
const edgeConnections = 10_000

// The figures of the checklist for a node of a cluster: files of the machine (P1.1), and
// of the process (P1.2).
const (
	clusterFiles        = million
	clusterProcessFiles = 1 << 20
)

// baseline is e.Baseline, or the usual one.
func (e *Env) baseline() Baseline {
	if e.Baseline == "" {
		return Internet
	}
	return e.Baseline
}

// size adapts a plan to the baseline.
func (b Baseline) size(p *plan) {
	switch b {
	case Edge:
		if !p.chosen && p.connections > edgeConnections {
			p.connections, p.why = edgeConnections, "limits.connections_total is auto; baseline edge plans for no more"
		}
		p.files = filesFor(p.connections)
		p.processFiles = p.files
	case Cluster:
		p.files = max(filesFor(p.connections), clusterFiles)
		p.processFiles = max(filesFor(p.connections), clusterProcessFiles)
		p.chosen, p.why = true, "and baseline cluster demands room for more"
	default:
		p.files = filesFor(p.connections)
		p.processFiles = p.files
	}
}

// clusterRows are the rows about what is between nodes.
var clusterRows = []string{"P1.5", "P1.6", "P2.1", "P2.3", "P5.17"}

// Baselines are those in which the row is demanded.
func (c *Check) Baselines() []Baseline {
	if slices.Contains(clusterRows, c.ID) {
		return []Baseline{Cluster}
	}
	return Baselines
}

// baselinesPage is about them in docs/security/checks.md.
func baselinesPage() string {
	return "## Baselines\n\n" +
		"`--baseline` says what kind of node is judged. All else is the same for each of them.\n\n" +
		"| | `edge` | `internet` (default) | `cluster` |\n|---|---|---|---|\n" +
		"| For | a small node of its own beside the machines it serves | a node of its own that anybody can reach | one of several nodes that may have to take the clients of the others |\n" +
		fmt.Sprintf("| P1.1, P1.3b: connections the host has room for | `limits.connections_total`; where that is `auto`, %d or what the open file limit allows, whichever is less | `limits.connections_total`; where that is `auto`, what the open file limit allows | the same as `internet` |\n", edgeConnections) +
		fmt.Sprintf("| P1.1: files of the machine | 1.2 for each connection and %d | the same | the same, and at least %d |\n", filesReserve, clusterFiles) +
		fmt.Sprintf("| P1.2: files of the process | 1.2 for each connection and %d | the same | the same, and at least %d |\n", filesReserve, clusterProcessFiles) +
		"| P1.1, P1.3b: too little room where `limits.connections_total` is `auto` | warning | warning | failure |\n" +
		"| " + strings.Join(clusterRows, ", ") + ": ports between nodes | not demanded | not demanded | demanded; not applicable until nodes can be joined |\n"
}
