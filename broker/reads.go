package broker

import (
	"container/list"
	"sync"
)

// What sessions want read stands in a line of the broker, and only a few of it at a time with
// those who read: a session that ends takes what it asked for out of the line. Otherwise
// somebody who comes, asks for much and goes, again and again, would make the line as long
// as he likes while the disk is slow.
//
// What is read for others stands with the readers at once, and is bounded by what there is:
// a group has one read under way (group_queue.go), and a summons is one for each session
// that a CONNECT waits for, of a log that several nodes write (summon.go).

// readsAsked is how many reads of sessions stand with the readers at a time. There are a few
// of them, and whoever reads for a group waits behind these.
const readsAsked = 64

// reads is the line. All homes ask, and readers take from it.
type reads struct {
	mu    sync.Mutex // guards everything below; nothing is called while it is held
	line  list.List  // of wanted
	of    map[*resident][]*list.Element
	asked int // stand with the readers
}

type wanted struct {
	by   *resident
	read func()
}

// ask has something read for a session, at some time; not if the session ends before.
func (b *Broker) ask(r *resident, read func()) {
	if b.reads.add(r, read) {
		b.durable.Do(b.read)
	}
}

// read is one turn of a reader.
func (b *Broker) read() {
	defer func() { // after a bug in it as well
		if b.reads.next() {
			b.durable.Do(b.read)
		}
	}()
	if read := b.reads.take(); read != nil {
		read()
	}
}

// add puts a read at the end of the line, and tells whether a reader is to be asked.
func (l *reads) add(r *resident, read func()) (ask bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = make(map[*resident][]*list.Element)
	}
	l.of[r] = append(l.of[r], l.line.PushBack(wanted{r, read}))
	if ask = l.asked < readsAsked; ask {
		l.asked++
	}
	return ask
}

// take takes the first of the line; nil: it has been dropped.
func (l *reads) take() (read func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.line.Front()
	if first == nil {
		return nil
	}
	w := l.line.Remove(first).(wanted)
	if mine := l.of[w.by]; len(mine) > 1 {
		l.of[w.by] = mine[1:] // the line keeps their order
	} else {
		delete(l.of, w.by)
	}
	return w.read
}

// next ends a turn, and tells whether there is another for the same reader.
func (l *reads) next() (more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked--
	if more = l.line.Len() > l.asked; more {
		l.asked++
	}
	return more
}

// drop takes out of the line what a session that ends has asked for.
func (l *reads) drop(r *resident) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.of[r] {
		l.line.Remove(e)
	}
	delete(l.of, r)
}
