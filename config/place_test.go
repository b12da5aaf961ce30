package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Who points at a key points at a line of the file, or at nothing.
func TestPlaceInTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "redoubt.yaml")
	text := "node:\n  data_dir: " + t.TempDir() + "\nlisteners:\n  mqtts:\n    protocol: mqtts\n    bind: [\"127.0.0.1:0\"]\nlimits: {topic_levels: 9}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(Options{File: file, Now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Hostname: "n1", Env: []string{"REDOUBT_METRICS__BIND=[\"127.0.0.1:0\"]"}})
	if err != nil {
		t.Fatal(err)
	}
	for key, line := range map[string]int{
		"listeners.mqtts":               4,
		"listeners.mqtts.bind":          6,
		"listeners.mqtts.proxy_sources": 4, // not set: what it would be part of
		"limits":                        7,
		"limits.topic_levels":           7,
		"listeners.wss":                 3, // of that name there is none here
		"flapping":                      0,
		"metrics":                       0, // the environment has it
		"metrics.bind":                  0,
	} {
		if o := loaded.Place(key); o.Line != line || (line > 0) != (o.Name == file) {
			t.Errorf("%s: %+v, want line %d", key, o, line)
		}
	}
}
