{{/* What each service is, for gitsplit.pod. The names of secrets and paths are those of ctl/internal/home. */}}

{{- define "gitsplit.railsSpec" -}}
{{- $v := .Values -}}
image: {{ .image }}
args: {{ .args | toJson }}
secrets: [gitlab_shell_secret, gitlab_workhorse_secret, gitaly_token, rails_database_key, initial_root_password, initial_root_token]
connections: [database, redis]
settings:
  - {name: EXTERNAL_URL, value: {{ $v.externalURL | quote }}}
  - {name: GITSPLIT_SSH_PORT, value: {{ include "gitsplit.sshPort" .root | quote }}}
  - {name: GITSPLIT_HTTP_PORT, value: "8080"}
  - {name: GITSPLIT_HTTPS_PORT, value: "8443"}
  - {name: GITSPLIT_STORAGES, value: {{ include "gitsplit.storages" .root | quote }}}
env:
  - {name: RAILS_API_DATABASE_URL_FILE, value: /var/opt/gitsplit/secrets/database_url}
  - {name: RAILS_API_REDIS_URL_FILE, value: /var/opt/gitsplit/secrets/redis_url}
  - {name: RAILS_API_REPOSITORY_DOWNLOADS_PATH, value: /tmp/archives}
  {{- if $v.ssh.host }}
  - {name: RAILS_API_SSH_HOST, value: {{ $v.ssh.host | quote }}}
  {{- end }}
  {{- if $v.objectStorage.url }}
  - {name: RAILS_API_OBJECT_STORAGE, value: {{ $v.objectStorage.url | quote }}}
  {{- end }}
  {{- if $v.objectStorage.credentialsSecret }}
  - {name: AWS_SHARED_CREDENTIALS_FILE, value: /run/gitsplit/bucket/credentials}
  {{- end }}
  {{- if and .migrate $v.migrate.dumpsClaim }}
  - {name: RAILS_API_MIGRATION_DUMPS, value: /var/opt/gitsplit/data/migrations}
  {{- end }}
mounts:
  {{- if $v.objectStorage.credentialsSecret }}
  - {name: bucket, mountPath: /run/gitsplit/bucket, readOnly: true}
  {{- end }}
  {{- if $v.postgresql.caSecret }}
  - {name: database-ca, mountPath: /run/gitsplit/postgresql, readOnly: true}
  {{- end }}
  {{- if and $v.objectStorage.volume.enabled (not .migrate) }}
  - {name: objects, mountPath: /var/opt/gitsplit/data/objects, subPath: objects}
  {{- end }}
  {{- if and .migrate $v.migrate.dumpsClaim }}
  - {name: dumps, mountPath: /var/opt/gitsplit/data/migrations, subPath: migrations}
  {{- end }}
volumes:
  {{- with $v.objectStorage.credentialsSecret }}
  - name: bucket
    secret: {secretName: {{ . }}, items: [{key: credentials, path: credentials}], defaultMode: 0440}
  {{- end }}
  {{- with $v.postgresql.caSecret }}
  - name: database-ca
    secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
  {{- end }}
  {{- if and $v.objectStorage.volume.enabled (not .migrate) }}
  {{- include "gitsplit.objects" .root | nindent 2 }}
  {{- end }}
  {{- if and .migrate $v.migrate.dumpsClaim }}
  - name: dumps
    persistentVolumeClaim: {claimName: {{ $v.migrate.dumpsClaim }}}
  {{- end }}
{{- end -}}

{{- define "gitsplit.objects" -}}
- name: objects
  persistentVolumeClaim: {claimName: {{ .Values.objectStorage.volume.existingClaim | default (printf "%s-objects" (include "gitsplit.fullname" .)) }}}
{{- end -}}

{{- define "gitsplit.spec.rails-api" -}}
{{ include "gitsplit.railsSpec" (dict "root" . "Values" .Values "image" "rails-api" "args" (list "-config" "/var/opt/gitsplit/config/rails-api.yml")) }}
ports: {http: 8080, probe: 9168}
probe: true
{{- end -}}

{{- define "gitsplit.spec.sidekiq" -}}
{{ include "gitsplit.railsSpec" (dict "root" . "Values" .Values "image" "sidekiq" "args" (list "-config" "/var/opt/gitsplit/config/rails-api.yml")) }}
ports: {probe: 9168}
probe: true
{{- end -}}

{{- define "gitsplit.spec.migrate" -}}
{{ include "gitsplit.railsSpec" (dict "root" . "Values" .Values "migrate" true "image" "rails-api" "args" (list "-config" "/var/opt/gitsplit/config/rails-api.yml" "migrate")) }}
{{- end -}}

{{- define "gitsplit.spec.workhorse" -}}
{{- $v := .Values -}}
{{- $full := include "gitsplit.fullname" . -}}
image: workhorse
args: [-config, /var/opt/gitsplit/config/workhorse.toml]
ports: {http: 8080, https: 8443, internal: 8181, probe: 9229}
probe: true
secrets: [gitlab_workhorse_secret]
connections: [redis]
settings:
  - {name: EXTERNAL_URL, value: {{ $v.externalURL | quote }}}
  - {name: GITSPLIT_HTTP_PORT, value: "8080"}
  - {name: GITSPLIT_HTTPS_PORT, value: "8443"}
  - {name: GITSPLIT_PROXIED, value: {{ $v.http.proxyProtocol | ternary "1" "0" | quote }}}
  - {name: GITSPLIT_TLS_CERT, value: /run/gitsplit/tls/tls.crt}
  - {name: GITSPLIT_TLS_KEY, value: /run/gitsplit/tls/tls.key}
env:
  - {name: WORKHORSE_AUTH_BACKEND, value: {{ printf "http://%s-rails-api:8080" $full | quote }}}
  - {name: WORKHORSE_AUTH_ADDRESSES, value: {{ printf "%s-rails-api:8080" $full | quote }}}
  - {name: WORKHORSE_REDIS_URL_FILE, value: /var/opt/gitsplit/secrets/redis_url}
  - {name: WORKHORSE_UPLOADS_TEMP_DIR, value: /tmp}
  {{- if not $v.objectStorage.volume.enabled }}
  - {name: WORKHORSE_UPLOADS_UNFINISHED, value: ""}
  {{- end }}
  {{- with $v.http.trustedProxies }}
  - {name: WORKHORSE_TRUSTED_CIDRS_FOR_X_FORWARDED_FOR, value: {{ join "," . | quote }}}
  {{- end }}
  {{- if $v.http.redirectToHTTPS }}
  - {name: WORKHORSE_REDIRECT_TO_HTTPS, value: {{ $v.externalURL | quote }}}
  {{- end }}
mounts:
  # Not with subPath: a renewed certificate has to show.
  - {name: tls, mountPath: /run/gitsplit/tls, readOnly: true}
  {{- if $v.objectStorage.volume.enabled }}
  - {name: objects, mountPath: /var/opt/gitsplit/data/objects, subPath: objects}
  {{- end }}
volumes:
  - name: tls
    secret: {secretName: {{ include "gitsplit.tlsSecretName" . }}, defaultMode: 0440, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
  {{- if $v.objectStorage.volume.enabled }}
  {{- include "gitsplit.objects" . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "gitsplit.spec.gitlab-sshd" -}}
{{- $v := .Values -}}
image: gitlab-sshd
args: [-config-dir, /var/opt/gitsplit/config/shell]
ports: {ssh: 2222, probe: 9122}
probe: true
secrets: [gitlab_shell_secret, ssh_host_ed25519_key, ssh_host_rsa_key]
settings:
  # Here only for the name in the known_hosts file that `gitsplit show known-hosts` prints.
  - {name: EXTERNAL_URL, value: {{ printf "http://%s" (include "gitsplit.sshHost" .) | quote }}}
  - {name: GITSPLIT_SSH_PORT, value: {{ include "gitsplit.sshPort" . | quote }}}
  - {name: GITSPLIT_PROXIED, value: {{ $v.ssh.proxyProtocol | ternary "1" "0" | quote }}}
env:
  - {name: SHELL_GITLAB_URL, value: {{ printf "http://%s-workhorse-internal:8181" (include "gitsplit.fullname" .) | quote }}}
{{- end -}}

{{- define "gitsplit.spec.gitaly" -}}
image: gitaly
# Each pod is the storage of its number, and knows of no other: one more storage starts none anew.
args: [serve, /var/opt/gitsplit/config/gitaly-storage-$(POD_INDEX).toml]
ports: {grpc: 8075, probe: 9236}
probe: true
reaper: true
secrets: [gitaly_token, gitlab_shell_secret]
settings:
  - &index
    name: POD_INDEX
    valueFrom:
      fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}
  - {name: GITSPLIT_STORAGES, value: "storage-$(POD_INDEX)=127.0.0.1:8075"}
env:
  - *index
  - {name: GITALY_GITLAB_URL, value: {{ printf "http://%s-workhorse-internal:8181" (include "gitsplit.fullname" .) | quote }}}
mounts:
  # Not the top of the volume: some file systems have a directory of their own there.
  - {name: repositories, mountPath: /var/opt/gitsplit/data/repositories, subPath: repositories}
{{- end -}}
