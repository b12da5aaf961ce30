package main

import (
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/store/view"
)

// restoreDelayed gives the homes the messages back that wait for their time. All sessions
// are there, because those past due are published at once; nobody is let in yet. A crash
// may have come between the end of a user and the end of what they had waiting.
func (n *node) restoreDelayed() error {
	homes, gone, messages := make(map[int][]*view.Delayed), make(map[string]bool), 0
	if err := n.durable.view.Delayed(func(d *view.Delayed) error {
		home := n.broker.HomeForDelayed(d)
		homes[home] = append(homes[home], d)
		if messages++; d.Method == builtin.Name && !n.users.Known(d.Username) {
			gone[d.Identity] = true
		}
		return nil
	}); err != nil {
		return fmt.Errorf("store: read the delayed messages: %w", err)
	}
	if messages == 0 {
		return nil
	}
	n.server.Each(func(now time.Time, h *broker.Home) {
		h.RestoreDelayed(homes[h.ID()])
		if len(gone) > 0 {
			h.Revoke(now, gone)
		}
	})
	n.log.Info("delayed messages are back", "messages", messages)
	return nil
}
