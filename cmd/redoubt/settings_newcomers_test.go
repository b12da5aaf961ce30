package main

import (
	"testing"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
)

// What holds for everybody and what a listener says reach the broker.
func TestNewcomersReachTheBroker(t *testing.T) {
	c := &config.Config{Listeners: map[string]config.Listener{"a": {}, "b": {}}}
	c.Limits.SameClient, c.Limits.PerIdentity, c.Limits.MostAttribute = config.SameClientRefuse, 7, "seats"
	a := c.Listeners["a"]
	a.Limits.SameClient, a.Limits.PerIdentity = config.SameClientTakeover, 3
	c.Listeners["a"] = a
	set := brokerSettings(c, nil)
	if set.Newcomers != (broker.Newcomers{Refuse: true, Most: 7}) || set.MostAttribute != "seats" || *set.Entrances["a"].Newcomers != (broker.Newcomers{Most: 3}) {
		t.Errorf("%+v, %q, %+v", set.Newcomers, set.MostAttribute, *set.Entrances["a"].Newcomers)
	}
}
