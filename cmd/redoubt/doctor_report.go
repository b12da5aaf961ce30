package main

import (
	"errors"
	"strconv"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/harden"
)

// brokerReport is a broker's account of itself as checks want it, but for its process, which is
// the kernel's to say.
func brokerReport(s *admin.StatusReport, l *admin.LimitsReport, all *admin.SettingsReport) (r harden.BrokerReport, err error) {
	r = harden.BrokerReport{
		Node: s.Name, Version: s.Version, ConnectionsMax: s.ConnectionsMax, Limits: harden.Limits(l.ClientLimits), Rates: make(map[string]harden.Rate),
		Settings: make(map[string]string, len(all.Data)), StoreBytes: s.Store.Bytes, StoreBytesMax: s.Store.MaxBytes,
	}
	for _, x := range l.Listeners {
		r.Rates[x.Name] = harden.Rate{Messages: x.MessagesPerSecond, Burst: x.MessagesBurst}
	}
	for _, x := range s.Listeners {
		r.Listeners = append(r.Listeners, harden.ListenerReport{Name: x.Name, Address: x.Address, Protocol: x.Protocol})
	}
	for _, x := range s.Stopped {
		r.Stopped = append(r.Stopped, harden.StoppedListener{Name: x.Name, Since: x.Since, By: x.By})
	}
	for _, x := range s.Draining {
		r.Draining = append(r.Draining, harden.DrainingSocket{Name: x.Name, Address: x.Address})
	}
	for i := range all.Data {
		r.Settings[all.Data[i].Key] = all.Data[i].Text
	}
	r.Flapping, err = flappingOf(all)
	return r, err
}

// flappingOf is what the process holds of it.
func flappingOf(all *admin.SettingsReport) (f harden.Flapping, err error) {
	for i := range all.Data {
		var wrong error
		switch s := &all.Data[i]; s.Key {
		case "flapping.connects":
			f.Connects, wrong = strconv.Atoi(s.Text)
		case "flapping.window":
			f.Window, wrong = config.ParseDuration(s.Text)
		case "flapping.ban":
			f.Ban, wrong = config.ParseDuration(s.Text)
		}
		err = errors.Join(err, wrong)
	}
	if err == nil && (f.Window <= 0 || f.Ban <= 0) {
		err = errors.New("the broker does not say what flapping is")
	}
	return f, err
}
