package local

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
	"github.com/redoubtmq/redoubt/store/storetest"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLog runs the suite on the machine's disk and on the simulated one, with
// segments large and small, so that rings and rotation both do their part.
func TestLog(t *testing.T) {
	real := func(t *testing.T) disk.Dir {
		d, err := disk.OpenDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	fake := func(*testing.T) disk.Dir { return faultfs.New() }
	small := Options{SegmentBytes: 4 << 10, RingBytes: 4 << 10, QueueBytes: 1 << 20}
	for _, c := range []struct {
		name string
		dir  func(*testing.T) disk.Dir
		o    Options
	}{
		{"disk", real, Options{}},
		{"disk, small segments and ring", real, small},
		{"fake", fake, Options{QueueRecords: 100}},
		{"fake, small segments and ring", fake, small},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) store.Log {
				l, _, err := OpenOn(c.dir(t), c.o)
				if err != nil {
					t.Fatal(err)
				}
				return l
			})
		})
	}
}
