package test

import (
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// Debian's Python, because that is the one python3-paho-mqtt is installed for.
const python = "/usr/bin/python3"

func TestPaho(t *testing.T) {
	judgeSuite(t, start(t, testkit.Options{}), []string{
		"round_trip", "retained", "will", "denied_publish", "denied_publish_qos0", "denied_subscribe",
		"denied_will", "takeover", "same_id_other_user", "resume", "refused",
	}, python, clientFile(t, "paho_suite.py"))
}

func TestMQTTjs(t *testing.T) {
	judgeSuite(t, start(t, testkit.Options{}), []string{
		"round_trip", "retained", "will", "denied_publish", "denied_subscribe",
		"takeover", "resume", "refused", "wrong_ca",
	}, testkit.Need(t, "node"), clientFile(t, "mqttjs_suite.js"))
}
