package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/redoubtmq/redoubt/config"
)

// object is a manifest of Kubernetes, or a part of one.
type object map[string]any

// at is what is at a path such as spec/ports/0/port, and nil where there is nothing.
func (o object) at(path string) any {
	var v any = o
	for name := range strings.SplitSeq(path, "/") {
		switch in := v.(type) {
		case object: // all maps are of the type of the outer one
			v = in[name]
		case []any:
			i := 0
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

// chart is what the chart makes of its defaults, by kind and name. That packaging/helm/test.sh
// has made it of the chart as it is here, the first lines tell.
func chart(t *testing.T) map[string]object {
	t.Helper()
	dir := filepath.Join("..", "..", "packaging", "helm")
	var files []string
	if err := filepath.WalkDir(filepath.Join(dir, "redoubt"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	sum := sha256.New()
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(b)
	}
	text := packaged(t, "helm/default.yaml")
	if want := "# Chart: sha256:" + hex.EncodeToString(sum.Sum(nil)); !slices.Contains(strings.Split(text, "\n"), want) {
		t.Errorf("packaging/helm/default.yaml is of another chart: packaging/helm/test.sh -rewrite (%s)", want)
	}
	out := map[string]object{}
	for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o object
		if dec.Decode(&o) != nil {
			break
		}
		out[fmt.Sprint(o.at("kind"), " ", o.at("metadata/name"))] = o
	}
	return out
}

// The pod has no rights, nothing to write to but its folder, and no way to Kubernetes.
func TestTheChartIsConfined(t *testing.T) {
	t.Parallel()
	all := chart(t)
	set := all["StatefulSet redoubt"]
	want := map[string]any{
		"spec/replicas": 1, "spec/template/spec/automountServiceAccountToken": false, "spec/template/spec/enableServiceLinks": false,
		"spec/template/spec/serviceAccountName": "redoubt", "spec/template/spec/hostNetwork": nil, "spec/template/spec/hostPID": nil, "spec/template/spec/hostIPC": nil,
		"spec/template/spec/securityContext/runAsNonRoot": true, "spec/template/spec/securityContext/runAsUser": 10001, "spec/template/spec/securityContext/runAsGroup": 10001,
		"spec/template/spec/securityContext/fsGroupChangePolicy": "OnRootMismatch", "spec/template/spec/securityContext/seccompProfile/type": "RuntimeDefault",
		"spec/template/spec/initContainers/1": nil, "spec/template/spec/containers/1": nil, "spec/template/spec/volumes/1": nil, "spec/volumeClaimTemplates/1": nil,
		// The first container makes the folder, of which alone the broker sees.
		"spec/template/spec/initContainers/0/args":                   []any{"init", "--folder", "--data-dir", "/volume/data"},
		"spec/template/spec/initContainers/0/volumeMounts/0":         map[string]any{"name": "data", "mountPath": "/volume"},
		"spec/template/spec/containers/0/volumeMounts/0":             map[string]any{"name": "data", "mountPath": "/var/lib/redoubt", "subPath": "data"},
		"spec/template/spec/containers/0/volumeMounts/1/subPath":     "redoubt.yaml",
		"spec/template/spec/containers/0/volumeMounts/1/readOnly":    true,
		"spec/template/spec/containers/0/args":                       []any{"serve"},
		"spec/template/spec/containers/0/env":                        nil,
		"spec/template/spec/containers/0/readinessProbe/exec":        map[string]any{"command": []any{"/usr/bin/redoubt", "status", "--ready"}},
		"spec/template/spec/containers/0/startupProbe/exec":          map[string]any{"command": []any{"/usr/bin/redoubt", "status", "--ready"}},
		"spec/template/spec/containers/0/livenessProbe/exec":         map[string]any{"command": []any{"/usr/bin/redoubt", "status"}},
		"spec/template/spec/containers/0/resources/limits/memory":    "1Gi",
		"spec/template/spec/affinity/podAntiAffinity/none":           nil,
		"spec/volumeClaimTemplates/0/spec/accessModes":               []any{"ReadWriteOnce"},
		"spec/template/spec/containers/0/securityContext/procMount":  nil,
		"spec/template/spec/containers/0/securityContext/runAsUser":  nil,
		"spec/template/spec/containers/0/securityContext/runAsGroup": nil,
	}
	for _, c := range []string{"initContainers", "containers"} {
		at := "spec/template/spec/" + c + "/0/securityContext/"
		for key, v := range map[string]any{"privileged": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true, "capabilities": map[string]any{"drop": []any{"ALL"}}} {
			want[at+key] = v
		}
	}
	for path, v := range want {
		if got := set.at(path); plainly(got) != plainly(v) {
			t.Errorf("%s is %v, and has to be %v", path, got, v)
		}
	}
	if set.at("spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/podAffinityTerm/topologyKey") != "kubernetes.io/hostname" {
		t.Error("two brokers may well come to the same node")
	}
	if v := all["PodDisruptionBudget redoubt"].at("spec/maxUnavailable"); v != 1 {
		t.Errorf("disruption budget: %v", v)
	}
	if v := all["ServiceAccount redoubt"].at("automountServiceAccountToken"); v != false {
		t.Errorf("token: %v", v)
	}
	text := packaged(t, "helm/default.yaml")
	for _, no := range []string{"tcpSocket", "httpGet", "hostPath", "kind: Secret", "kind: Role", "NodePort", "password"} {
		if strings.Contains(text, no) {
			t.Errorf("there is %s", no)
		}
	}
	if own := packaged(t, "helm/redoubt/Chart.yaml"); !strings.Contains(own, "appVersion: \""+strings.SplitN(version, "+", 2)[0]+"\"\n") {
		t.Errorf("the chart is of another version than %s:\n%s", version, own)
	}
}

// plainly makes maps of YAML comparable by their text.
func plainly(v any) string {
	b, err := yaml.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b))
}

// The configuration is one that the broker takes, with the listeners it has by itself; the
// NetworkPolicy lets in what they listen on, and out to nobody but who resolves names.
func TestTheChartOpensTheListenersOnly(t *testing.T) {
	t.Parallel()
	all := chart(t)
	file := filepath.Join(t.TempDir(), "redoubt.yaml")
	if err := os.WriteFile(file, []byte(fmt.Sprint(all["ConfigMap redoubt"].at("data/redoubt.yaml"))), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(config.Options{File: file, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	own, err := config.Load(config.Options{File: filepath.Join("..", "..", "packaging", "linux", "redoubt.yaml"), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for name, l := range own.Config.Listeners {
		if got, is := loaded.Config.Listeners[name]; !is || !slices.Equal(got.Bind, l.Bind) || got.Protocol != l.Protocol {
			t.Errorf("listeners.%s is not what it is by default: %v", name, got)
		}
		for _, bind := range l.Bind {
			want = append(want, bind[strings.LastIndexByte(bind, ':')+1:]+"/TCP")
		}
	}
	slices.Sort(want)
	for _, place := range []struct{ object, list, port string }{
		{"NetworkPolicy redoubt", "spec/ingress/0/ports", "port"}, {"Service redoubt", "spec/ports", "port"}, {"Service redoubt-pods", "spec/ports", "port"},
		{"StatefulSet redoubt", "spec/template/spec/containers/0/ports", "containerPort"},
	} {
		var got []string
		list, _ := all[place.object].at(place.list).([]any)
		for _, p := range list {
			if o, ok := p.(object); ok {
				got = append(got, fmt.Sprint(o[place.port], "/", o["protocol"]))
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s opens %v, and the broker listens on %v", place.object, got, want)
		}
	}
	policy := all["NetworkPolicy redoubt"]
	if policy.at("spec/ingress/1") != nil || policy.at("spec/egress/1") != nil || plainly(policy.at("spec/policyTypes")) != "- Ingress\n- Egress" ||
		plainly(policy.at("spec/egress/0/ports")) != "- port: 53\n  protocol: UDP\n- port: 53\n  protocol: TCP" ||
		policy.at("spec/egress/0/to/0/podSelector/matchLabels/k8s-app") != "kube-dns" {
		t.Errorf("the policy is wider than the listeners and DNS: %s", plainly(policy))
	}
	if plainly(policy.at("spec/podSelector/matchLabels")) != plainly(all["StatefulSet redoubt"].at("spec/selector/matchLabels")) {
		t.Error("the policy is about other pods")
	}
}
