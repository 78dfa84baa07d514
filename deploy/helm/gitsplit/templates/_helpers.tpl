{{- define "gitsplit.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "gitsplit" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-gitsplit" (.Release.Name | trunc 31 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* What a Service or a workload selects its pods by: (list root component). */}}
{{- define "gitsplit.selector" -}}
app.kubernetes.io/name: gitsplit
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "gitsplit.labels" -}}
{{ include "gitsplit.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end -}}

{{- define "gitsplit.secretName" -}}
{{- .Values.secrets.existingSecret | default (printf "%s-secrets" (include "gitsplit.fullname" .)) -}}
{{- end -}}

{{- define "gitsplit.tlsSecretName" -}}
{{- .Values.http.tls.existingSecret | default (printf "%s-tls" (include "gitsplit.fullname" .)) -}}
{{- end -}}

{{- define "gitsplit.host" -}}
{{- (urlParse .Values.externalURL).hostname -}}
{{- end -}}

{{- define "gitsplit.sshHost" -}}
{{- .Values.ssh.host | default (include "gitsplit.host" .) -}}
{{- end -}}

{{/* The port in SSH clone addresses. */}}
{{- define "gitsplit.sshPort" -}}
{{- $s := .Values.ssh.service -}}
{{- if and (eq $s.type "NodePort") $s.nodePort }}{{ $s.nodePort }}{{ else }}{{ $s.port }}{{ end -}}
{{- end -}}

{{/* The storages as `gitsplit configure` reads them. */}}
{{- define "gitsplit.storages" -}}
{{- $name := printf "%s-gitaly" (include "gitsplit.fullname" .) -}}
{{- $weights := .Values.gitaly.weights -}}
{{- range $i := until (int .Values.gitaly.replicas) -}}
{{- $weight := 100 -}}
{{- if lt $i (len $weights) }}{{ $weight = index $weights $i }}{{ end -}}
{{- if $i }} {{ end }}storage-{{ $i }}={{ $name }}-{{ $i }}.{{ $name }}:8075*{{ $weight }}
{{- end -}}
{{- end -}}

{{/* What a schema cannot say in a sentence. */}}
{{- define "gitsplit.check" -}}
{{- $v := .Values -}}
{{- if not $v.externalURL }}{{ fail "externalURL: set it to the public address, such as https://git.example.org" }}{{ end -}}
{{- if eq (empty $v.postgresql.url) (empty $v.postgresql.existingSecret) }}{{ fail "postgresql: set url or existingSecret; the chart brings no database" }}{{ end -}}
{{- if eq (empty $v.redis.url) (empty $v.redis.existingSecret) }}{{ fail "redis: set url or existingSecret; the chart brings no Redis" }}{{ end -}}
{{- if eq (empty $v.objectStorage.url) (not $v.objectStorage.volume.enabled) }}{{ fail "objectStorage: set url to a bucket, or volume.enabled to true" }}{{ end -}}
{{- if and $v.gateway.enabled (not $v.gateway.name) }}{{ fail "gateway.name: set it to the Gateway that the routes are for" }}{{ end -}}
{{- if and $v.http.redirectToHTTPS (not (hasPrefix "https://" $v.externalURL)) }}{{ fail "http.redirectToHTTPS: externalURL has to begin with https://" }}{{ end -}}
{{- end -}}
