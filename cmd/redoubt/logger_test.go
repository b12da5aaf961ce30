package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// stuck is a reader of the log that has stopped reading.
type stuck struct{ release chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.release
	return len(b), nil
}

func TestAStoppedLogReaderStopsNobody(t *testing.T) {
	s := stuck{make(chan struct{})}
	q := newLineQueue(s)
	const more = 100
	for i := range logLinesMax + more {
		_, _ = fmt.Fprintf(q, "line %d\n", i)
	}
	if lost := q.Forgive(); lost < more-1 || lost > more {
		t.Errorf("%d lines lost, want those over the queue", lost)
	}
	close(s.release)
	q.Close()
}

func TestTheLogIsWrittenWholeAndInOrder(t *testing.T) {
	var out, want bytes.Buffer
	q := newLineQueue(&out)
	for i := range 1000 {
		_, _ = fmt.Fprintf(q, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	q.Close()
	_, _ = q.Write([]byte("after the end\n")) // must neither panic nor appear
	if out.String() != want.String() {
		t.Errorf("%d bytes written, want %d", out.Len(), want.Len())
	}
}

// Who leaves out set is told what to write.
func TestALevelWithoutSet(t *testing.T) {
	if _, err, code := command(t, "", "log", "level", "debug", "--data-dir", dataDir(t)); code != 2 || err == nil || !strings.Contains(err.Error(), "redoubt log level set debug") {
		t.Errorf("exit code %d, %v", code, err)
	}
}
