package pki

import (
	"errors"
	"fmt"
	"time"
)

// ErrNothingToRenew is in the error of Renew when no certificate of the name is valid.
var ErrNothingToRenew = errors.New("has no valid certificate to renew")

// Renew issues the next certificate to who has one that is valid. Without a life in the
// order it is for as long as the one before. That one stays valid: the device may not have
// got the new one, and who renews does not know yet.
func (d *Devices) Renew(now time.Time, o Order) (out *IssuedDevice, before DeviceCert, err error) {
	out, err = d.issue(now, o, func(l *ledger, o *Order) error {
		last := l.lastValid(now, o.Name)
		if last == nil {
			return fmt.Errorf("%q %w; see redoubt cert list, and issue one if it is to have one again", o.Name, ErrNothingToRenew)
		}
		before = *last
		if o.Life == 0 {
			o.Life = last.life()
		}
		return nil
	})
	return out, before, err
}

// lastValid is the certificate of a name that is valid for the longest time, or nil.
func (l *ledger) lastValid(now time.Time, name string) (last *DeviceCert) {
	for _, c := range l.byName(name) {
		if c.Valid(now) && (last == nil || c.NotAfter.After(last.NotAfter)) {
			last = c
		}
	}
	return last
}

// life is for how long it was issued, within what Order takes.
func (c *DeviceCert) life() time.Duration {
	return min(max(c.NotAfter.Sub(c.NotBefore)-backdate, time.Hour), DeviceLifeMax)
}
