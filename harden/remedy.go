package harden

import "strings"

// What a fix touches, beside what it says. It is a table of its own because a program
// reads it: what it may write, whether clients notice, and how it is undone.

// What has to happen before a fix is in force.
const (
	restartNone   = "none"   // at once, or at the next look at a file
	restartReload = "reload" // redoubt reload; nobody is disconnected
	restartBroker = "broker" // clients are disconnected
	restartHost   = "host"   // or a move to another
)

// remedy is what the fix of a row touches.
type remedy struct {
	files    []string // a key of the configuration is its file
	restart  string
	rollback string
}

const (
	sysctlFile  = "/etc/sysctl.d/60-redoubt.conf"
	dropInDir   = "/etc/systemd/system/redoubt.service.d/"
	configFile  = "redoubt.yaml"
	limitsFile  = dropInDir + "10-limits.conf"
	sandboxFile = dropInDir + "20-sandbox.conf"
)

// The ways back.
const (
	undoSysctl = "remove the lines from " + sysctlFile + " and set the values of before with sysctl -w; a file that is gone changes nothing by itself"
	undoUnit   = "remove the drop-in, then systemctl daemon-reload and systemctl restart redoubt"
	undoConfig = "put the keys back as they were, and the same again: redoubt reload, or a restart"
	undoFile   = "the earlier file in its place, then redoubt reload"
	undoMode   = "chmod and chown to what the evidence says was there"
	undoNone   = "none is needed"
)

// remedies are those of every row, by id.
var remedies = map[string]remedy{
	"P1.1":  {[]string{sysctlFile}, restartNone, undoSysctl},
	"P1.2":  {[]string{limitsFile}, restartBroker, undoUnit},
	"P1.3a": {[]string{sysctlFile}, restartBroker, undoSysctl},
	"P1.3b": {[]string{sysctlFile, "/etc/modprobe.d/60-redoubt.conf"}, restartNone, undoSysctl},
	"P1.4":  {[]string{configFile}, restartReload, undoConfig},
	"P1.5":  {nil, restartNone, undoNone},
	"P1.6":  {nil, restartNone, undoNone},
	"P1.7":  {[]string{dropInDir + "20-user.conf"}, restartBroker, undoUnit},
	"P1.8":  {[]string{sandboxFile}, restartBroker, undoUnit},
	"P1.9":  {[]string{sandboxFile}, restartBroker, undoUnit},
	"P1.10": {[]string{sandboxFile}, restartBroker, undoUnit},
	"P1.11": {[]string{"/etc/systemd/timesyncd.conf", "/etc/chrony/chrony.conf"}, restartNone, "turn the service off again"},
	"P1.12": {nil, restartHost, "a snapshot from before the upgrade"},
	"P1.13": {[]string{"/etc/ssh/sshd_config.d/60-redoubt.conf"}, restartNone, "remove the file, then systemctl reload ssh"},
	"P2.1":  {nil, restartNone, undoNone},
	"P2.3":  {nil, restartNone, undoNone},
	"P2.2":  {nil, restartNone, undoMode},
	"P3.1":  {[]string{configFile}, restartBroker, undoConfig},
	"P3.2":  {[]string{configFile}, restartBroker, undoConfig},
	"P3.3":  {nil, restartNone, undoFile},
	"P3.4":  {[]string{configFile}, restartReload, undoConfig},
	"P3.5":  {[]string{configFile}, restartReload, undoConfig},
	"P3.6":  {nil, restartNone, undoFile},
	"P4.1":  {[]string{configFile}, restartReload, undoConfig},
	"P4.2":  {[]string{"rules.yaml"}, restartReload, undoFile},
	"P4.3":  {[]string{configFile}, restartReload, undoConfig},
	"P4.4":  {[]string{configFile}, restartReload, undoConfig},
	"P4.5":  {[]string{configFile}, restartReload, undoConfig},
	"P5.1":  {nil, restartNone, undoNone},
	"P5.2":  {[]string{configFile}, restartBroker, undoConfig},
	"P5.3":  {nil, restartNone, undoNone},
	"P5.4":  {nil, restartNone, undoNone},
	"P5.5":  {nil, restartNone, undoNone},
	"P5.6":  {nil, restartNone, "turn the collector off again"},
	"P5.7":  {[]string{configFile}, restartBroker, undoConfig},
	"P5.8":  {[]string{configFile}, restartBroker, undoConfig},
	"P5.9":  {[]string{configFile}, restartReload, undoConfig},
	"P5.10": {[]string{configFile}, restartReload, undoConfig},
	"P5.11": {[]string{sandboxFile}, restartBroker, undoUnit},
	"P5.12": {[]string{sandboxFile}, restartBroker, undoUnit},
	"P5.13": {[]string{configFile}, restartReload, undoConfig},
	"P5.14": {[]string{configFile}, restartReload, undoConfig},
	"P5.15": {nil, restartBroker, undoNone},
	"P5.16": {nil, restartBroker, "the package of before, and a restart"},
	"P5.17": {nil, restartNone, undoNone},
}

// remedy is the row's, with the names of the files as this node has them.
func (r *Report) remedy(c *Check) remedy {
	m, ok := remedies[c.ID]
	if !ok {
		m.restart = restartNone
	}
	files := make([]string, 0, len(m.files))
	for _, f := range m.files {
		switch {
		case f == configFile && r.ConfigFile != "":
			f = r.ConfigFile
		case f == "rules.yaml" && r.RulesFile != "":
			f = r.RulesFile
		}
		files = append(files, f)
	}
	m.files = files
	return m
}

// programs begin what can be pasted into a shell.
var programs = []string{"chmod ", "chown ", "printf ", "redoubt "}

// command is a fix that is one as it stands; "": it is words for a person.
func command(fix string) string {
	for part := range strings.SplitSeq(fix, " && ") {
		known := part == "sysctl --system"
		for _, p := range programs {
			known = known || strings.HasPrefix(part, p) && !strings.Contains(part, ": ")
		}
		if !known {
			return ""
		}
	}
	return fix
}
