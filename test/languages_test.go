package test

import (
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// Debian's Python, because that is the one python3-paho-mqtt is installed for.
const python = "/usr/bin/python3"

func TestPaho(t *testing.T) {
	t.Parallel()
	judgeSuite(t, start(t, testkit.Options{}), pahoCases, python, clientFile(t, "paho_suite.py"))
}

var pahoCases = []string{
	"round_trip", "retained", "will", "denied_publish", "denied_publish_qos0", "denied_subscribe",
	"denied_will", "takeover", "same_id_other_user", "resume", "refused",
}

func TestMQTTjs(t *testing.T) {
	t.Parallel()
	judgeSuite(t, start(t, testkit.Options{}), mqttjsCases, testkit.Need(t, "node"), clientFile(t, "mqttjs_suite.js"))
}

var mqttjsCases = []string{
	"round_trip", "retained", "will", "denied_publish", "denied_subscribe",
	"takeover", "resume", "refused", "wrong_ca",
}

// The same over WebSocket, where MQTT.js sends each part of a packet in a frame
// of its own and paho masks by hand.
func TestMQTTjsOverWebSocket(t *testing.T) {
	t.Parallel()
	judgeSuite(t, start(t, testkit.Options{WebSocket: true}), mqttjsCases, testkit.Need(t, "node"), clientFile(t, "mqttjs_suite.js"))
}

func TestPahoOverWebSocket(t *testing.T) {
	t.Parallel()
	judgeSuite(t, start(t, testkit.Options{WebSocket: true}), pahoCases, python, clientFile(t, "paho_suite.py"))
}
