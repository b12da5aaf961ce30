//go:build !linux

package notify

import "time"

// monotonic is not known: systemd is a thing of Linux, and other managers do not ask.
func monotonic() (since time.Duration, ok bool) { return 0, false }
