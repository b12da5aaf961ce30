package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubtmq/redoubt/client/bench"
	"github.com/redoubtmq/redoubt/mqtt"
)

// startRows are about a broker that begins, in order or after it was killed.
var startRows = []row{
	{name: "start", title: "client after the start of an empty broker: CONNACK", unit: "s", must: .5, aim: .2, own: true, clients: 1, run: startEmpty},
	{name: "start-full", title: "sessions with 10 messages each in store: start until CONNACK", unit: "times reading it", must: 5, aim: 2, own: true, often: half, disk: true, clients: 100000, run: startFull},
	{name: "kill9", title: "sessions filled until kill -9: acknowledged messages lost", unit: "%", must: 0, aim: 0, own: true, worst: true, zero: true, disk: true, clients: 100, run: killed},
}

const (
	// fullMessages of each session; with all 100,000 sessions that is a million.
	fullMessages = "10"
	// killedMessages of each are more than are sent until killAfter.
	killedMessages = "20000"
	killAfter      = 2 * time.Second
	// connackWithin bounds a start.
	connackWithin = 2 * time.Minute
	connackEvery  = 2 * time.Millisecond
)

// startEmpty is the time from exec to the first CONNACK.
func startEmpty(l *lab, _ *row, _ int, ours bool) (float64, error) {
	b, took, err := l.startTimed(ours, &setup{unanswered: true, passwords: true}, visitor)
	if err != nil {
		return 0, err
	}
	b.end()
	return took.Seconds(), nil
}

// guest is who logs in after a start.
type guest struct {
	id   string
	back bool // to the session that it has
}

var (
	visitor = guest{id: "first"}
	// returning is the first of those that startFull makes.
	returning = guest{id: fullNames + "s0", back: true}
)

// fullNames is what the names of clients with a session in store begin with.
const fullNames = "full-"

var errNoSession = errors.New("the broker has started, and the session that was in store is gone")

// startTimed starts a broker and lets one client log in: the time from exec on, without what was made
// ready before.
func (l *lab) startTimed(ours bool, s *setup, who guest) (*broker, time.Duration, error) {
	b, err := l.startSide(ours, s)
	if err != nil {
		return nil, 0, err
	}
	for {
		err := l.login(who)
		took := l.clock.Now().Sub(b.began)
		if err == nil {
			return b, took, nil
		}
		if errors.Is(err, errNoSession) {
			b.end()
			return nil, 0, err
		}
		select {
		case ended := <-b.ended:
			return nil, 0, fmt.Errorf("the broker ended (%v): %s", ended, lastLine(b.text.Bytes()))
		case <-l.stop:
			b.end()
			return nil, 0, errStopped
		case <-time.After(connackEvery):
		}
		if took > connackWithin {
			b.end()
			return nil, 0, fmt.Errorf("nobody could log in within %s: %w", connackWithin, err)
		}
	}
}

// login is a client that connects, and leaves when it was let in.
func (l *lab) login(who guest) error {
	c, err := net.DialTimeout("tcp", l.address(portTCP), time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(l.clock.Now().Add(connackWithin)) // what is wrong with it, the next call tells
	k := mqtt.Connect{Version: mqtt.V311, CleanStart: !who.back, ClientID: who.id, HasUsername: true, Username: "bench", HasPassword: true, Password: []byte(l.password)}
	if _, err := c.Write(k.Append(nil, mqtt.V311, 0)); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	return connackError(answer, who.back)
}

// connackError judges a CONNACK of version 3.1.1; back: there has to be a session.
func connackError(answer [4]byte, back bool) error {
	if answer[0] != 0x20 || answer[1] != 2 {
		return fmt.Errorf("%x is no CONNACK", answer)
	}
	if answer[3] != 0 {
		return fmt.Errorf("refused with %d", answer[3])
	}
	if back && answer[2]&1 == 0 {
		return errNoSession
	}
	return nil
}

// startFull fills a broker, ends it in order and starts it again, with nothing of its files in
// memory: how often they could be read meanwhile.
func startFull(l *lab, r *row, clients int, ours bool) (float64, error) {
	s := setup{persist: true}
	b, err := l.startSide(ours, &s)
	if err != nil {
		return 0, err
	}
	_, err = l.generate(r.call(b, ours, load("offline", "-c", "--messages", fullMessages, "-q", "1", "--undrained", "-I", fullNames)(clients)))
	if ended := b.endInOrder(); err == nil && ended != nil {
		err = fmt.Errorf("the broker that was filled: %w", ended)
	}
	if err != nil {
		return 0, err
	}
	dir := l.path("peer")
	if ours {
		dir = l.path("data")
	}
	if err := forgetFiles(dir); err != nil {
		return 0, err
	}
	began := l.clock.Now()
	size, err := readFiles(dir)
	reading := l.clock.Now().Sub(began)
	if err != nil {
		return 0, err
	}
	if err := forgetFiles(dir); err != nil {
		return 0, err
	}
	s.keep, s.unanswered = true, true
	b, took, err := l.startTimed(ours, &s, returning)
	if err != nil {
		return 0, err
	}
	b.end()
	fmt.Fprintf(l.log, "%-18s %d MiB read in %.2f s, started in %.2f s\n", r.name, size>>20, reading.Seconds(), took.Seconds())
	return took.Seconds() / reading.Seconds(), nil
}

// readFiles reads all files below dir, one after the other.
func readFiles(dir string) (size int64, err error) {
	buf := make([]byte, 1<<20)
	err = eachFile(dir, func(f *os.File) error {
		for {
			n, err := f.Read(buf)
			size += int64(n)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	if err == nil && size == 0 {
		err = fmt.Errorf("there is nothing in %s: the broker has stored nothing", dir)
	}
	return size, err
}

// eachFile opens the files below dir in turn.
func eachFile(dir string, do func(*os.File) error) error {
	return filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return do(f)
	})
}

// killed fills sessions that are away, kills the broker in the middle, starts it again and has the
// sessions come back: the part of what was acknowledged that is gone.
func killed(l *lab, r *row, clients int, ours bool) (float64, error) {
	s := setup{persist: true}
	b, err := l.startSide(ours, &s)
	if err != nil {
		return 0, err
	}
	c := r.call(b, ours, load("offline", "-c", "--messages", killedMessages, "-q", "1", "--killed")(clients))
	c.lossy = true
	g, err := l.begin(c)
	if err != nil {
		b.end()
		return 0, err
	}
	select {
	case err := <-g.ended:
		b.end()
		_, err = readReport(c, g.out.Bytes(), g.errs.Bytes(), err)
		return 0, errors.Join(errors.New("the generator ended before the broker was killed"), err)
	case <-l.stop:
		g.stop()
		b.end()
		return 0, errStopped
	case <-time.After(killAfter):
	}
	b.kill()
	s.keep = true
	if b, err = l.startSide(ours, &s); err != nil {
		g.stop()
		return 0, err
	}
	defer b.end()
	rep, err := g.report(l)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(l.log, "%-18s %d acknowledged, %d of them lost, %d of %d sessions still there\n", r.name, acknowledged(rep), rep.Offline.Lost, rep.Offline.Present, rep.Offline.Sessions)
	return lostPart(rep)
}

func acknowledged(rep *bench.Report) uint64 {
	if rep.Sent == nil {
		return 0
	}
	return rep.Sent.Acknowledged
}

// lostPart is how many of a hundred acknowledged messages are gone.
func lostPart(rep *bench.Report) (float64, error) {
	if rep.Offline == nil || acknowledged(rep) == 0 {
		return 0, errors.New("nothing was acknowledged before the broker was killed, so nothing is shown")
	}
	return float64(rep.Offline.Lost) / float64(acknowledged(rep)) * 100, nil
}
