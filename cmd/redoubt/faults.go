package main

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/redoubtmq/redoubt/metrics"
)

// caught counts a bug that a goroutine beside the loops has caught, and says where it is.
func (n *node) caught(fault any) {
	n.count.Inc(metrics.FaultsRecovered)
	n.audit.Event(n.clock.Now(), slog.LevelError, "a bug was caught; what has set it off is refused", "fault",
		slog.String("fault", fmt.Sprint(fault)), slog.String("stack", string(debug.Stack())))
}
