{{/*
The template of a pod: its metadata and spec. Given: root, name (the component), values (its part of
values.yaml), and spec, what the component says of itself in _components.tpl:

  image, args, ports    of the service
  probe                 the port of its probes; none for a Job
  settings              environment of the init container, which writes the configuration
  env                   environment of the service: what it has elsewhere than in containers of one host
  secrets               keys of the shared Secret that it may know
  connections           database, redis: which addresses it may know
  mounts, volumes       beyond /var/opt and /tmp
*/}}
{{- define "gitsplit.pod" -}}
{{- $v := .root.Values -}}
{{- $full := include "gitsplit.fullname" .root -}}
{{- $tag := $v.images.tag | default .root.Chart.AppVersion -}}
metadata:
  # Without the chart's version: a new one alone starts nothing anew.
  labels:
    {{- include "gitsplit.selector" (list .root .name) | nindent 4 }}
  annotations:
    {{- if .spec.connections }}
    # A changed address does.
    gitsplit/connections: {{ list $v.postgresql.url $v.redis.url | toJson | sha256sum | trunc 16 | quote }}
    {{- end }}
    {{- with .values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ $full }}
  automountServiceAccountToken: false
  # Variables of Services would look like settings.
  enableServiceLinks: false
  {{- with $v.images.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- if .spec.reaper }}
  # Takes care of git processes whose parent is gone.
  shareProcessNamespace: true
  {{- end }}
  {{- if .spec.probe }}
  terminationGracePeriodSeconds: {{ .values.gracePeriod }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "gitsplit.selector" (list $.root $.name) | nindent 10 }}
    {{- end }}
  {{- else }}
  restartPolicy: Never
  {{- end }}
  {{- with .values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  initContainers:
    - name: configure
      image: {{ $v.images.registry }}/gitsplit:{{ $tag }}
      imagePullPolicy: {{ $v.images.pullPolicy }}
      args: [configure]
      # The home is not there before this container has made it.
      workingDir: /
      env:
        {{- toYaml .spec.settings | nindent 8 }}
        - {name: GITSPLIT_SECRETS, value: /run/gitsplit/secrets}
      securityContext: &confined
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      resources:
        {{- toYaml $v.configure.resources | nindent 8 }}
      volumeMounts:
        - {name: home, mountPath: /var/opt}
        - {name: secrets, mountPath: /run/gitsplit/secrets, readOnly: true}
  containers:
    - name: {{ .name }}
      image: {{ $v.images.registry }}/{{ .spec.image }}:{{ $tag }}
      imagePullPolicy: {{ $v.images.pullPolicy }}
      args:
        {{- toYaml .spec.args | nindent 8 }}
      {{- with concat (.spec.env | default list) .values.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .spec.ports }}
      ports:
        {{- range $name, $port := . }}
        - {name: {{ $name }}, containerPort: {{ $port }}}
        {{- end }}
      {{- end }}
      {{- if .spec.probe }}
      startupProbe: # long: the first start of rails-api brings the database up to date
        httpGet: {path: /-/liveness, port: probe}
        periodSeconds: 2
        failureThreshold: 150
      livenessProbe:
        httpGet: {path: /-/liveness, port: probe}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /-/readiness, port: probe}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      lifecycle:
        preStop: # until all have heard that no new connections go here
          sleep: {seconds: 5}
      {{- end }}
      securityContext: *confined
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      volumeMounts:
        - {name: home, mountPath: /var/opt}
        - {name: tmp, mountPath: /tmp}
        {{- with .spec.mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    # Configuration, copies of secrets, and sockets: in memory, gone with the pod.
    - name: home
      emptyDir: {medium: Memory, sizeLimit: 16Mi}
    - name: tmp
      emptyDir: {sizeLimit: {{ .values.scratch | default "1Gi" }}}
    - name: secrets
      projected:
        defaultMode: 0440
        sources:
          - secret:
              name: {{ include "gitsplit.secretName" .root }}
              items:
                {{- range .spec.secrets }}
                - {key: {{ . }}, path: {{ . }}}
                {{- end }}
          {{- if has "database" (.spec.connections | default list) }}
          - secret:
              name: {{ $v.postgresql.existingSecret | default (printf "%s-connections" $full) }}
              items:
                - {key: {{ empty $v.postgresql.existingSecret | ternary "database_url" $v.postgresql.key }}, path: database_url}
          {{- end }}
          {{- if has "redis" (.spec.connections | default list) }}
          - secret:
              name: {{ $v.redis.existingSecret | default (printf "%s-connections" $full) }}
              items:
                - {key: {{ empty $v.redis.existingSecret | ternary "redis_url" $v.redis.key }}, path: redis_url}
          {{- end }}
    {{- with .spec.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
