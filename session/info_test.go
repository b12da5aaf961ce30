package session

import (
	"reflect"
	"testing"
)

// The sum of what was lost leaves no reason out.
func TestDropsPlus(t *testing.T) {
	var one Drops
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		v.Field(i).SetUint(uint64(i) + 1)
	}
	sum := reflect.ValueOf(one.Plus(one))
	for i := range sum.NumField() {
		if got := sum.Field(i).Uint(); got != 2*uint64(i+1) {
			t.Errorf("%s: %d, want %d", sum.Type().Field(i).Name, got, 2*(i+1))
		}
	}
}
