package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// canary is looked for in every rendering: a secret that prints anywhere prints
// this.
const canary = "canary-5up3r-53cr37"

func TestNoRenderingShowsTheSecret(t *testing.T) {
	type config struct {
		Name     string
		Password Value
		Pointer  *Value
		List     []Value
	}
	v := FromString(canary)
	c := config{"x", v, &v, []Value{v}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", &v)
		fmt.Fprintf(&out, verb+"\n", c)
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	y, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(y)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "secret", v, "config", c)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "secret", v, "config", c)
	fmt.Fprintln(&out, errors.Join(fmt.Errorf("wrapped %w %v", errors.New("e"), v)))
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))} {
		if strings.Contains(out.String(), form) {
			t.Fatalf("the secret was printed as %q:\n%s", form, out.String())
		}
	}
	if got := strings.Count(out.String(), Redacted); got < 30 {
		t.Errorf("[redacted] was printed %d times, want it wherever the secret would have been", got)
	}
}

func TestEqualAndReveal(t *testing.T) {
	if !FromString("a").Equal(New([]byte("a"))) || FromString("a").Equal(FromString("b")) {
		t.Error("Equal does not compare the bytes")
	}
	if !(Value{}).Empty() || string(FromString("a").Reveal()) != "a" {
		t.Error("Empty or Reveal is wrong")
	}
}
