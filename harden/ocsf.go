package harden

import "log/slog"

// What lines of the log have for a SIEM, so that nobody has to guess it from their words: the class
// and the type of OCSF, with its numbers, and the kind and category of ECS.

// Classes of OCSF, and what is done in them.
const (
	ocsfCompliance = 2003 // Compliance Finding
	ocsfAccess     = 3005 // User Access Management
	ocsfActivity   = 6003 // API Activity

	ocsfCreate = 1 // of a finding; in 3005: a privilege is assigned
	ocsfUpdate = 2 // of a finding; in 3005: a privilege is revoked
	ocsfClose  = 3 // of a finding; in 6003: update
)

// ocsfSeverities are the numbers of severities there.
var ocsfSeverities = map[Severity]int{Low: 2, Medium: 3, High: 4, Critical: 5}

// ocsfCompliances are the results of a control there: 1 pass, 2 no result for want of information, 3 fail,
// 99 something else, which compliance.status says.
var ocsfCompliances = map[State]int{Pass: 1, Warn: 1, Unknown: 2, Manual: 2, Fail: 3, Waived: 3, NotApplicable: 99, "": 99}

// finding are the fields of a row that was in one state and is in another.
func finding(from, to State, severity Severity) []slog.Attr {
	activity, status := ocsfUpdate, 1 // new
	switch {
	case to == Waived:
		status = 3 // suppressed
	case to == Fail && from != Fail:
		activity = ocsfCreate
	case to != Fail && to != Unknown:
		status = 4 // resolved
		if from == Fail || from == Waived || from == Unknown {
			activity = ocsfClose
		}
	}
	return []slog.Attr{slog.Int("class_uid", ocsfCompliance), slog.Int("activity_id", activity), slog.Int("type_uid", ocsfCompliance*100+activity),
		slog.Int("severity_id", ocsfSeverities[severity]), slog.Int("status_id", status),
		slog.Int("compliance.status_id", ocsfCompliances[to]), slog.String("compliance.status", orNone(to)), slog.String("event.kind", "state"), slog.String("event.category", "configuration")}
}

// classed are the fields of something that was done, by class and activity: a waiver begins or ends to let
// something be (ocsfAccess, create and update), or is another one now (ocsfActivity, close).
func classed(class, activity int) []slog.Attr {
	return []slog.Attr{slog.Int("class_uid", class), slog.Int("activity_id", activity), slog.Int("type_uid", class*100+activity),
		slog.String("event.kind", "event"), slog.String("event.category", "configuration")}
}
