package main

import (
	"context"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/harden"
)

// Refused implements harden.Broker.
func (p patient) Refused(ctx context.Context, clientID string) (harden.RefusedConnect, error) {
	list, err := p.client.Refusals(ctx, admin.RefusalQuery{ClientID: clientID, Limit: 1})
	if err != nil || len(list.Data) == 0 {
		return harden.RefusedConnect{}, err
	}
	return harden.RefusedConnect{By: list.Data[0].By, Why: list.Data[0].Why}, nil
}
