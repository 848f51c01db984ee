{{- /* What the bridge is told: values become settings. */}}

{{- /* Numbers by toJson, since they are floats here and quote alone would write 67108864 as 6.7108864e+07. */}}
{{- define "tickbridge.setting" -}}
{{- $value := index . 1 }}
{{- if not (or (kindIs "invalid" $value) (and (kindIs "map" $value) (empty $value)) (eq (toString $value) "")) }}
{{ index . 0 }}: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end }}

{{- /* Every setting that is no secret, as a map without the prefix: what the values say, and what the chart sets itself. */}}
{{- define "tickbridge.environment" -}}
{{- $all := include "tickbridge.settings" . | fromYaml }}
{{- if and (gt (int .Values.replicaCount) 1) (not (hasKey $all "GROUP__LOST_HOLD_S")) }}
{{- $_ := set $all "GROUP__LOST_HOLD_S" "0" }}
{{- end }}
{{- $_ := set $all "UPSTREAM__TOKEN_FILE" "/etc/tickbridge/token/token" }}
{{- with .Values.upstream.ca.existingSecret }}
{{- $_ := set $all "UPSTREAM__CA_FILE" "/etc/tickbridge/upstream-ca/ca.crt" }}
{{- end }}
{{- with .Values.ticks.calendar.existingConfigMap }}
{{- $_ := set $all "TICKS__CALENDAR_FILE" "/etc/tickbridge/calendar/calendar.yaml" }}
{{- end }}
{{- if .Values.spill.enabled }}
{{- $_ := set $all "BACKPRESSURE__SPILL_DIR" "/var/lib/tickbridge/spill" }}
{{- end }}
{{- with .Values.kafka.sasl.username }}
{{- $_ := set $all "KAFKA__SASL_USERNAME" . }}
{{- end }}
{{- with .Values.kafka.tls }}
{{- if or .ca.existingSecret .ca.existingConfigMap }}
{{- $_ := set $all "KAFKA__SSL_CA_LOCATION" "/etc/tickbridge/kafka-ca/ca.crt" }}
{{- end }}
{{- if .certificate.existingSecret }}
{{- $_ := set $all "KAFKA__SSL_CERTIFICATE_LOCATION" "/etc/tickbridge/kafka-certificate/tls.crt" }}
{{- $_ := set $all "KAFKA__SSL_KEY_LOCATION" "/etc/tickbridge/kafka-certificate/tls.key" }}
{{- end }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- /* The same, completed by the bridge's own defaults: for what the chart must know to make objects. */}}
{{- define "tickbridge.effective" -}}
{{- merge (include "tickbridge.environment" . | fromYaml) (include "tickbridge.defaults" . | fromYaml) | toYaml }}
{{- end }}

{{- /* What a command needs that only talks to Kafka, as a container declares it: no token, no file that is not there. */}}
{{- define "tickbridge.kafkaSettings" -}}
{{- range $name, $value := include "tickbridge.environment" . | fromYaml }}
{{- if regexMatch "^(NAME|KAFKA__|TOPICS__|GROUP__ID|LOG__)" $name }}
- name: TICKBRIDGE_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The secrets among the settings; called with (root, name of the Secret that holds a password given as a value). */}}
{{- define "tickbridge.kafkaSecrets" -}}
{{- $kafka := (index . 0).Values.kafka }}
{{- if $kafka.sasl.usernameKey }}
{{ include "tickbridge.secretVariable" (list "KAFKA__SASL_USERNAME" $kafka.sasl.existingSecret $kafka.sasl.usernameKey) }}
{{- end }}
{{- if $kafka.sasl.existingSecret }}
{{ include "tickbridge.secretVariable" (list "KAFKA__SASL_PASSWORD" $kafka.sasl.existingSecret $kafka.sasl.passwordKey) }}
{{- else if $kafka.sasl.password }}
{{ include "tickbridge.secretVariable" (list "KAFKA__SASL_PASSWORD" (index . 1) "password") }}
{{- end }}
{{- with $kafka.tls.certificate }}
{{- if .passwordKey }}
{{ include "tickbridge.secretVariable" (list "KAFKA__SSL_KEY_PASSWORD" .existingSecret .passwordKey) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tickbridge.secretVariable" -}}
- name: TICKBRIDGE_{{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end }}

{{- /* Files that Kafka's client needs. */}}
{{- define "tickbridge.kafkaVolumes" -}}
{{- with .Values.kafka.tls }}
{{- if .ca.existingSecret }}
- name: kafka-ca
  secret:
    secretName: {{ .ca.existingSecret }}
    items:
      - key: {{ .ca.key }}
        path: ca.crt
{{- else if .ca.existingConfigMap }}
- name: kafka-ca
  configMap:
    name: {{ .ca.existingConfigMap }}
    items:
      - key: {{ .ca.key }}
        path: ca.crt
{{- end }}
{{- if .certificate.existingSecret }}
- name: kafka-certificate
  secret:
    secretName: {{ .certificate.existingSecret }}
    items:
      - key: {{ .certificate.certificateKey }}
        path: tls.crt
      - key: {{ .certificate.privateKeyKey }}
        path: tls.key
{{- end }}
{{- end }}
{{- end }}

{{- define "tickbridge.kafkaMounts" -}}
{{- with .Values.kafka.tls }}
{{- if or .ca.existingSecret .ca.existingConfigMap }}
- name: kafka-ca
  mountPath: /etc/tickbridge/kafka-ca
  readOnly: true
{{- end }}
{{- if .certificate.existingSecret }}
- name: kafka-certificate
  mountPath: /etc/tickbridge/kafka-certificate
  readOnly: true
{{- end }}
{{- end }}
{{- end }}

{{- /* host:port,host:port as a list of ports, each once. */}}
{{- define "tickbridge.kafkaPorts" -}}
{{- $ports := list }}
{{- range splitList "," .Values.kafka.bootstrapServers }}
{{- $ports = append $ports (regexFind "[0-9]+$" (trim .) | default "9092" | int) }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{- define "tickbridge.venuePort" -}}
{{- $url := .Values.upstream.url | default "wss://venue" }}
{{- regexFind ":[0-9]+$" (urlParse $url).host | trimPrefix ":" | default (hasPrefix "ws://" $url | ternary "80" "443") }}
{{- end }}

{{- /* Bytes of a Kubernetes quantity, such as 512Mi. */}}
{{- define "tickbridge.bytes" -}}
{{- $text := toString . }}
{{- $unit := regexFind "[A-Za-z]*$" $text }}
{{- $factors := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 }}
{{- mulf (trimSuffix $unit $text | float64) (get $factors $unit | default 1) | int64 }}
{{- end }}

{{- /* The spill, a quarter more (a file that cannot be read is set aside, and a new one begun), and 64 MiB; in MiB. */}}
{{- define "tickbridge.spillMebibytes" -}}
{{- $spill := (include "tickbridge.effective" . | fromYaml).BACKPRESSURE__SPILL_MAX_BYTES | float64 }}
{{- ceil (divf (mulf $spill 1.25) 1048576) | int64 | add 64 }}
{{- end }}

{{- define "tickbridge.spillLimit" -}}
{{- .Values.spill.sizeLimit | default (printf "%sMi" (include "tickbridge.spillMebibytes" .)) }}
{{- end }}
