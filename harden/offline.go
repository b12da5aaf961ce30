package harden

// Offline adds, without a running broker, what the configuration and the kernel alone
// have against a row: it is no verdict, since what a broker will hold may be another thing,
// and enough to prepare a host. Rows that nothing is known of stay unknown.
func Offline(e *Env, rep *Report) {
	for i := range rep.Rows {
		row := &rep.Rows[i]
		q := e.inquire("configuration")
		switch row.Check.ID {
		case "P1.1":
			if p := e.declaredPlan(); p != nil {
				q.oneProcess(p)
			}
		case "P1.3a":
			q.cookies()
			q.somaxconn()
		case "P4.3":
			q.ceilings(e.declaredLimits())
		case "P4.4":
			f := &e.Config.Flapping
			row.add(e.judgeFlappingLimits(&Flapping{Connects: f.Connects, Window: f.Window.Std(), Ban: f.Ban.Std()}))
			continue
		default:
			continue
		}
		row.add(q.result(Declared, ""))
	}
}

// add keeps a finding beside what a row has.
func (r *Row) add(x Result) {
	if x.State == Fail || x.State == Warn {
		x.Original = x.State
		x.clean()
		r.Results = append(r.Results, x)
	}
}

// declaredPlan is the number of connections that somebody wrote down; nil: nobody did.
func (e *Env) declaredPlan() *plan {
	c := int64(e.Config.Limits.ConnectionsTotal)
	if c <= 0 {
		return nil
	}
	p := &plan{BrokerReport: &BrokerReport{}, connections: c, chosen: true, why: "of the configuration"}
	e.baseline().size(p)
	return p
}

func (e *Env) declaredLimits() *Limits {
	l := &e.Config.Limits
	return &Limits{
		PacketBytes: int64(l.PacketBytes), ConnectPacketBytes: int64(l.ConnectPacketBytes), TopicLevels: int64(l.TopicLevels),
		TopicBytes: int64(l.TopicBytes), ClientIDBytes: int64(l.ClientIDBytes), UserProperties: int64(l.UserProperties),
		Inflight: int64(l.Inflight), AwaitingRel: int64(l.AwaitingRel), MqueueMessages: int64(l.MqueueMessages), MqueueBytes: int64(l.MqueueBytes),
		Subscriptions: int64(l.Subscriptions), WildcardSubscriptions: int64(l.WildcardSubscriptions), TopicAliases: int64(l.TopicAliases),
		SessionExpiryMaxSeconds: int64(l.SessionExpiryMax), ConnectDeadlineMillis: l.ConnectDeadline.Std().Milliseconds(),
	}
}

// Supervision is who confines the process of the broker: a unit of systemd, nobody (it was
// started by hand), or something else, such as a container.
func Supervision(e *Env, pid int) (unit string, byHand bool) {
	unit, err := e.unitOf(pid)
	if err != nil {
		return "", false
	}
	return unit, e.byHand(pid)
}
