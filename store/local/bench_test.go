package local

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perRecord reports records per second and CPU for each.
func perRecord(b *testing.B, began time.Duration) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64((cpu()-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// BenchmarkGroupCommit has 1,024 records of 256 bytes outstanding at all times,
// each its own batch, on the disk below the test's folder. "events" submits the
// next from the outcome, as loops do; "goroutines" has one goroutine waiting for
// each.
func BenchmarkGroupCommit(b *testing.B) {
	const waiters = 1024
	recs := []store.Record{{Kind: store.Message, SID: store.SID{1}, Epoch: 1, At: 1_790_000_000_000, Body: make([]byte, 256)}}
	b.Run("events", func(b *testing.B) {
		l := benchLog(b)
		var wg sync.WaitGroup
		wg.Add(b.N)
		sent := 0
		var done func(store.Seq, error)
		done = func(_ store.Seq, err error) {
			if err != nil {
				b.Error(err)
			}
			if sent < b.N { // the committer's goroutine from now on
				sent++
				l.Submit(0, recs, done)
			}
			wg.Done()
		}
		b.ReportAllocs()
		began := cpu()
		b.ResetTimer()
		first := min(waiters, b.N)
		sent = first
		for range first {
			l.Submit(0, recs, done)
		}
		wg.Wait()
		perRecord(b, began)
	})
	b.Run("goroutines", func(b *testing.B) {
		l := benchLog(b)
		var wg sync.WaitGroup
		b.ReportAllocs()
		began := cpu()
		b.ResetTimer()
		for i := range waiters {
			wg.Go(func() {
				ch := make(chan error, 1)
				done := func(_ store.Seq, err error) { ch <- err }
				for range (b.N + i) / waiters {
					for !l.Submit(0, recs, done) {
						b.Error("full")
						return
					}
					if err := <-ch; err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		perRecord(b, began)
	})
}

// BenchmarkOneFlushPerRecord is the same without groups: what every record costs
// that has a flush to itself.
func BenchmarkOneFlushPerRecord(b *testing.B) {
	l := benchLog(b)
	recs := []store.Record{{Kind: store.Message, SID: store.SID{1}, Epoch: 1, At: 1_790_000_000_000, Body: make([]byte, 256)}}
	ch := make(chan error, 1)
	done := func(_ store.Seq, err error) { ch <- err }
	began := cpu()
	for b.Loop() {
		l.Submit(0, recs, done)
		if err := <-ch; err != nil {
			b.Fatal(err)
		}
	}
	perRecord(b, began)
}

func benchLog(b *testing.B) *Log {
	d, err := disk.OpenDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	l, _, err := OpenOn(d, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// BenchmarkTailFromDisk reads a log of 256-byte records front to back, and
// BenchmarkOpen scans it after a crash.
func BenchmarkTailFromDisk(b *testing.B) {
	d, n := filledDisk(b)
	l, _, err := open(d, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = l.Tail(b.Context(), 0, 1, func(first store.Seq, _ []store.Record) error {
			if first == n {
				return errEnough
			}
			return nil
		})
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	shut(l)
}

// BenchmarkPick reads 64 records here and there for one session after the other, as those do who come back
// together: what one of them has had read the others find.
func BenchmarkPick(b *testing.B) {
	d, n := filledDisk(b)
	l, _, err := open(d, Options{})
	if err != nil {
		b.Fatal(err)
	}
	n = min(n, 64*100)
	session := store.Seq(0)
	b.ReportAllocs()
	for b.Loop() {
		session = session%100 + 1
		var seqs []store.Seq
		for seq := session; seq <= n; seq += 100 {
			seqs = append(seqs, seq)
		}
		if err := l.Pick(b.Context(), 0, seqs, func(store.Seq, []store.Record) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(n/100), "ns/record")
	shut(l)
}

// BenchmarkOpen is what a start costs for each stored record.
func BenchmarkOpen(b *testing.B) {
	d, n := filledDisk(b)
	for b.Loop() {
		l, _, err := open(d, Options{})
		if err != nil {
			b.Fatal(err)
		}
		shut(l)
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func filledDisk(b *testing.B) (disk.Dir, store.Seq) {
	d, err := disk.OpenDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	l, _, err := open(d, Options{})
	if err != nil {
		b.Fatal(err)
	}
	recs := []store.Record{{Kind: store.Message, SID: store.SID{1}, Epoch: 1, At: 1_790_000_000_000, Body: make([]byte, 256)}}
	for range 200 {
		for range 1000 {
			l.Submit(0, recs, func(_ store.Seq, err error) {
				if err != nil {
					b.Fatal(err)
				}
			})
		}
		l.step()
	}
	shut(l)
	return d, 200_000
}
