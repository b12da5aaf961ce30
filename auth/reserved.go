package auth

// namespace is a first level that starts with "$". All of them are closed: a rule
// whose filter starts with a wildcard or a placeholder never reaches one
// [MQTT-4.7.2-1], so only a rule that spells the name out opens it, and only as
// far as this registry lets any rule go (A038, A039, A105, A106).
type namespace struct {
	publish, subscribe bool   // may a rule grant it?
	why                string // what to tell who tries
}

// reserved is closed by purpose: a broker that learns a new "$" feature adds its
// line here first, and the test of this table tries every line from outside.
//
// Prefixes that wrap another topic ($share, and the $queue, $exclusive and
// $delayed of other brokers) are never a topic of their own: a grant on the
// wrapper would be a second way to the topic inside it (A086). Administration
// has no way in over MQTT at all, which is what $CONTROL and $SETOPTS are
// elsewhere.
var reserved = map[string]namespace{
	"$SYS":       {subscribe: true, why: "only the broker itself publishes under $SYS; write `allow: subscribe`"},
	"$events":    {subscribe: true, why: "only the broker itself publishes under $events; write `allow: subscribe`"},
	"$share":     {why: "a shared subscription needs the right to the filter inside it; write that filter alone (a deny rule may name $share/GROUP/FILTER)"},
	"$queue":     {why: "$queue wraps another topic; write the filter inside it, and subscribe with $share/GROUP/FILTER"},
	"$exclusive": {why: "$exclusive wraps another topic; write the filter inside it"},
	"$delayed":   {why: "$delayed wraps another topic; write the filter inside it"},
	"$oshare":    {why: "$oshare wraps another topic; write the filter inside it, and subscribe with $share/GROUP/FILTER"},
	"$CONTROL":   {why: "administration is not done by publishing; use the administration API"},
	"$SETOPTS":   {why: "administration is not done by publishing; use the administration API"},
	"$LINK":      {why: "the cluster does not speak over MQTT topics"},
	"$MQTT":      {why: "$MQTT is internal to brokers and carries no client messages"},
	"$":          {why: "$ alone names no namespace; write the whole first level"},
}

// grantable tells how far a rule may open the namespace of a first level. A name
// this broker gives no meaning ($aws, a product's own) is a topic like any other
// once a rule spells it out.
func grantable(level string) namespace {
	if ns, ok := reserved[level]; ok {
		return ns
	}
	return namespace{publish: true, subscribe: true}
}
