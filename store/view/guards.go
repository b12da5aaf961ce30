package view

import (
	"encoding/binary"
	"math/bits"

	"github.com/redoubtmq/redoubt/internal/directory"
	"github.com/redoubtmq/redoubt/store"
)

// guards is the guard of every session. A map of so many is moved while it grows, and has room
// for twice as many. The zero one is empty.
type guards struct {
	by     directory.Directory // of places, by name
	chunks [][]guarded
	free   []uint32 // places
	places uint32   // that were given out, those that are free among them
}

type guarded struct {
	sid   store.SID
	guard guard
}

const guardedChunk = 1024

func (g *guards) len() int { return g.by.Len() }

func (g *guards) place(n uint32) *guarded { return &g.chunks[n/guardedChunk][n%guardedChunk] }

// hashOf is where the directory has a session: its name is a keyed hash, and in tests a number.
func hashOf(sid *store.SID) uint64 {
	a, b := binary.LittleEndian.Uint64(sid[:]), binary.LittleEndian.Uint64(sid[8:])
	return (a ^ bits.RotateLeft64(b, 32)) * 0x9E3779B97F4A7C15
}

func (g *guards) find(sid *store.SID) (n uint32, ok bool) {
	return g.by.Find(hashOf(sid), func(n uint32) bool { return g.place(n).sid == *sid })
}

// of is the guard of a session, if there is one.
func (g *guards) of(sid *store.SID) (is guard, there bool) {
	n, there := g.find(sid)
	if there {
		is = g.place(n).guard
	}
	return is, there
}

// set gives a session a guard, in place of the one before.
func (g *guards) set(sid *store.SID, is guard) {
	n, there := g.find(sid)
	if !there {
		n = g.take()
		g.by.Put(hashOf(sid), n)
	}
	*g.place(n) = guarded{*sid, is}
}

// take answers a place that is free.
func (g *guards) take() (n uint32) {
	if last := len(g.free) - 1; last >= 0 {
		n, g.free = g.free[last], g.free[:last]
		return n
	}
	if g.places%guardedChunk == 0 {
		g.chunks = append(g.chunks, make([]guarded, guardedChunk))
	}
	g.places++
	return g.places - 1
}

// drop forgets a session.
func (g *guards) drop(sid *store.SID) {
	n, there := g.find(sid)
	if !there {
		return
	}
	g.by.Drop(hashOf(sid), n)
	*g.place(n) = guarded{}
	if g.free = append(g.free, n); g.by.Len() == 0 {
		*g = guards{}
	}
}
