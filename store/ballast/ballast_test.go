package ballast

import (
	"math/rand/v2"
	"testing"

	"github.com/redoubtmq/redoubt/store/disk"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

func mustOpen(t *testing.T, dir disk.Dir) *File {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b.size = 4 << 20
	return b
}

func free(t *testing.T, dir disk.Dir) uint64 {
	t.Helper()
	n, err := dir.Free()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// It takes its space, gives it back when there is little, and takes it again when there is
// plenty; nothing in between, or it would come and go.
func TestItComesAndGoesWithTheSpace(t *testing.T) {
	dir := faultfs.New()
	dir.Space(300 << 20)
	b := mustOpen(t, dir)
	if _, made, err := b.Tend(free(t, dir), false); err != nil || !made || free(t, dir) > 296<<20 {
		t.Fatal(made, err, free(t, dir))
	}
	if !mustOpen(t, dir).Held() {
		t.Error("the next process does not find it")
	}
	for _, step := range []struct {
		free           uint64
		full           bool
		released, made bool
	}{{100 << 20, false, false, false}, {16 << 20, false, false, false}, {15 << 20, false, true, false}, {79 << 20, false, false, false}, {300 << 20, false, false, true}, {90 << 20, true, true, false}, {90 << 20, true, false, false}} {
		if released, made, err := b.Tend(step.free, step.full); err != nil || released != step.released || made != step.made {
			t.Errorf("%+v: released %v, made %v, %v", step, released, made, err)
		}
	}
	if b.Held() || free(t, dir) != 300<<20 {
		t.Errorf("%d bytes are free", free(t, dir))
	}
}

// What cannot be made leaves no space taken, and neither does a crash in the middle.
func TestHalfOfItIsNotKept(t *testing.T) {
	dir := faultfs.New()
	dir.Space(3 << 20)
	b := mustOpen(t, dir)
	if err := b.Make(); err == nil || b.Held() || free(t, dir) != 3<<20 {
		t.Errorf("%v, held %v, %d bytes are free", err, b.Held(), free(t, dir))
	}
	dir.Space(100 << 20)
	dir.PowerAt(4)
	if err := b.Make(); err == nil {
		t.Fatal("it was made without power")
	}
	dir = dir.Crash(rand.New(rand.NewPCG(1, 1))) //nolint:gosec // a test
	dir.Space(100 << 20)
	if b = mustOpen(t, dir); b.Held() || free(t, dir) != 100<<20 {
		t.Errorf("held %v, %d bytes are free", b.Held(), free(t, dir))
	}
}
