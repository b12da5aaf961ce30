package alarm

// Kind is what an alarm is about. The table of all is Kinds; docs/alarms.md is made of it:
//
//	go test ./alarm -rewrite
type Kind struct {
	Name string // stable, lower case with underscores
	Help string // what it means and what to do, in sentences
}

// Kinds are all there are. A new one is one line below, and one value of
// redoubt_alarms in metrics/catalogue.go.
var Kinds []*Kind

func kind(name, help string) *Kind {
	k := &Kind{Name: name, Help: help}
	Kinds = append(Kinds, k)
	return k
}

// The kinds, by what they are about.
var (
	CertificateExpiry = kind("certificate_expiry",
		"A server certificate of the listener expires within 30 days, or has expired; the reason says when. Renew it: its files are read by themselves. That of the built-in CA is renewed without anybody.")
	CertificateFilesRefused = kind("certificate_files_refused",
		"A certificate, key, client CA or revocation list of the listener has changed to something that is refused. The listener goes on with all of what it had. The reason names the file and the remedy; `redoubt cert lint` explains more.")
	CertificateDiffers = kind("certificate_differs",
		"The listener has served another certificate than its file holds for longer than a few seconds, although the files were read again; the reason says which two. With `certificate_files_refused` for the same listener that one says why; otherwise try `redoubt reload`.")
)
