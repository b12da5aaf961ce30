package config

var rowsStore = []Row{
	{Key: "store", Kind: KindSection, Since: release,
		Why: "What survives a crash and a power cut, in <data_dir>/store: sessions with an expiry, what they are owed at QoS 1 and 2, and retained messages."},
	{Key: "store.max_bytes", Kind: KindSize, Default: "10GiB", Min: "64MiB", Max: "100TiB",
		Why:   "Bytes of the log, and of what is kept aside from it. Above four fifths of it the oldest segments go, and what sessions still want of them within their limits is kept aside; that counts, too. At all of it, publishes that must be stored are answered 0x97.",
		Since: release, Reload: Live},
	{Key: "store.segment_bytes", Kind: KindSize, Default: "64MiB", Min: "1MiB", Max: "1GiB",
		Why:   "Size of one file of the log. Whole files are what is given back to the disk.",
		Since: release, Reload: Restart, File: fileEarly},
}
