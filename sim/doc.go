// Package sim is several nodes over one replicated log, under one seed: real brokers,
// sessions and views, and a network, disks and clocks that are in a test's hands. It is for
// tests only.
//
// What must hold whatever happens: a session has one owner, nothing acknowledged is lost,
// order is kept, QoS 2 arrives exactly once, and all views of the log are the same bytes.
//
// Rules: design sections 4 and 5; reliability row R-10.
package sim
