package harden

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

// ocsf is the class and the type of an event.
func ocsf(class, activity int) []any {
	return []any{"class_uid", class, "activity_id", activity, "type_uid", class*100 + activity}
}

// ocsfSeverities are the numbers of severities there.
var ocsfSeverities = map[Severity]int{Low: 2, Medium: 3, High: 4, Critical: 5}

// ocsfCompliances are the results of a control there: 1 pass, 2 no result for want of information, 3 fail,
// 99 something else, which compliance.status says.
var ocsfCompliances = map[State]int{Pass: 1, Warn: 1, Unknown: 2, Manual: 2, Fail: 3, Waived: 3, NotApplicable: 99, "": 99}

// finding are the fields of a row that was in one state and is in another.
func finding(from, to State, severity Severity) []any {
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
	return append(ocsf(ocsfCompliance, activity), "severity_id", ocsfSeverities[severity], "status_id", status,
		"compliance.status_id", ocsfCompliances[to], "compliance.status", orNone(to), "event.kind", "state", "event.category", "configuration")
}

// granted are the fields of a waiver that begins or ends to let something be.
func granted(begins bool) []any {
	activity := ocsfUpdate
	if begins {
		activity = ocsfCreate
	}
	return append(ocsf(ocsfAccess, activity), "event.kind", "event", "event.category", "configuration")
}

// altered are those of one that is another one now.
func altered() []any {
	return append(ocsf(ocsfActivity, ocsfClose), "event.kind", "event", "event.category", "configuration")
}
