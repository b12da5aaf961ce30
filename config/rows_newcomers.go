package config

// rowsNewcomers say what becomes of clients whose identity has others connected.
var rowsNewcomers = []Row{
	{Key: "limits.same_client", Kind: KindEnum, Default: SameClientTakeover, Values: []string{SameClientTakeover, SameClientRefuse},
		Why:   "What becomes of a client whose identity has one of that client identifier connected. takeover closes the older connection with 0x8E, and the newer has the session. refuse, which is not what MQTT says [MQTT-3.1.4-3], keeps the older one, and the newer is told 0x97, or 3 if it is of version 3: then a device whose connection is dead without a word waits until that has been silent for one and a half times its keep alive, so lower limits.keep_alive_max and keep_alive_max_v3 with it. Another identity never gets the session, with either.",
		Since: release, Reload: NewConnections},
	{Key: "limits.connections_per_identity", Kind: KindInt, Unit: "clients", Default: "0", Min: "0", Max: "10000000",
		Note:  "0: any number",
		Why:   "Connected clients of one identity, whatever their client identifiers, over all listeners that give it the same mountpoint. One more is refused with 0x97; nobody is closed. It bounds what one set of credentials that was copied is good for.",
		Since: release, Reload: NewConnections},
	{Key: "limits.connections_attribute", Kind: KindString, Default: `""`, Note: "none",
		Pattern: `^[A-Za-z0-9_-]{1,64}$`, Form: "the name of a client attribute",
		Why:   "Attribute of the client, from its token or the row that was found for it, with a number in place of connections_per_identity; 0: any number. A client that has none is under that key; one whose value is no number is refused.",
		Since: release, Reload: NewConnections},
}

var rowsListenerNewcomers = []Row{
	{Key: "listeners.<name>.limits.same_client", Kind: KindEnum, Default: SameClientTakeover, Values: []string{SameClientTakeover, SameClientRefuse},
		Why: "limits.same_client for who comes by this listener" + asEverybodys, Since: release, Reload: NewConnections},
	{Key: "listeners.<name>.limits.connections_per_identity", Kind: KindInt, Unit: "clients", Default: "0", Min: "0", Max: "10000000",
		Note: "0: any number", Why: "limits.connections_per_identity for who comes by this listener; those who have come by others count, too" + asEverybodys, Since: release, Reload: NewConnections},
}
