package broker

import "testing"

// The hashes of names are of the home and of the start: who has found names that lie in one
// place of his own broker has found nothing.
func TestNamesAreHashedWithASeedOfTheHome(t *testing.T) {
	d := newDesk(t, 2)
	key := keyOf(&d.sit(0, "a").resident().by, "a")
	again := newDesk(t, 1)
	if a, b, c := d.homes[0].hash(key), d.homes[1].hash(key), again.homes[0].hash(key); a == b || a == c || b == c {
		t.Errorf("%x, %x and %x", a, b, c)
	}
}
