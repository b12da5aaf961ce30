package limit

import (
	"testing"
	"time"
)

// TestSetRateKeepsWhatWasSpent: in tokens, whatever the rate before and after.
func TestSetRateKeepsWhatWasSpent(t *testing.T) {
	b := Bucket{PerSecond: 100, Burst: 200}
	b.Charge(start, 150)
	b.SetRate(start, 10, 200)
	if got := b.Spent(start); got != 150 {
		t.Errorf("%d tokens are spent after the rate was lowered, want 150", got)
	}
	b.SetRate(start, 10, 20)
	if got := b.Wait(start); got != 13*time.Second {
		t.Errorf("150 of 20 are paid at 10 a second in %v, want 13s", got)
	}
	b.SetRate(start, 1000, 20)
	if got := b.Wait(start); got != 130*time.Millisecond {
		t.Errorf("at 1000 a second in %v, want 130ms", got)
	}
	if got := b.Rest(start); got != 150*time.Millisecond {
		t.Errorf("all is forgotten in %v, want 150ms", got)
	}
	b.SetRate(start, 0, 0)
	if b.Charge(start, 1e6); b.Wait(start) != 0 || b.Spent(start) != 0 || b.Rest(start) != 0 {
		t.Error("unlimited, and in debt")
	}
	b.SetRate(start, 10, 20)
	if b.Spent(start) != 0 {
		t.Error("what was spent while nothing was limited counts")
	}
	b.Charge(start, 1<<40)
	if got := b.Wait(start); got > DebtMax {
		t.Errorf("a debt of %v, more than %v", got, DebtMax)
	}
	b.SetRate(start, 1, 2)
	if got := b.Wait(start); got > DebtMax {
		t.Errorf("a debt of %v after the rate was lowered, more than %v", got, DebtMax)
	}
	big := Bucket{PerSecond: 10 << 30, Burst: 600 << 30}
	big.Charge(start, 600<<30)
	if got := big.Spent(start); got != 600<<30 {
		t.Errorf("spent %d, want %d", got, 600<<30)
	}
}
