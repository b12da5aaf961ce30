{{- define "redoubt.name" -}}
{{- if contains "redoubt" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-redoubt" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "redoubt.selector" -}}
app.kubernetes.io/name: redoubt
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "redoubt.labels" -}}
{{ include "redoubt.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "redoubt.image" -}}
{{- with .Values.image }}{{ if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- /* Every port that is open beyond the pod, as a JSON list: the listeners of the configuration
      and nothing that is written a second time. */ -}}
{{- define "redoubt.ports" -}}
{{- $ports := list }}
{{- range $name, $l := .Values.config.listeners }}
{{- if ne $l.protocol "unix" }}
{{- range $i, $bind := $l.bind }}
{{- if not (or (hasPrefix "127." $bind) (hasPrefix "[::1]" $bind) (hasPrefix "lo:" $bind)) }}
{{- $port := regexFind "[0-9]+$" $bind }}
{{- if or (not $port) (eq $port "0") }}{{ fail (printf "config.listeners.%s.bind: %q has no port that a service could have" $name $bind) }}{{ end }}
{{- $protocol := ternary "UDP" "TCP" (eq $l.protocol "quic") }}
{{- $short := $name | replace "_" "-" | trunc 12 | trimSuffix "-" }}
{{- $ports = append $ports (dict "name" (ternary $short (printf "%s-%d" $short $i) (eq $i 0)) "port" (int $port) "protocol" $protocol) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if not $ports }}{{ fail "config.listeners: nobody could come in: no listener has a bind beyond loopback" }}{{ end }}
{{- dict "ports" $ports | toJson }}
{{- end }}
