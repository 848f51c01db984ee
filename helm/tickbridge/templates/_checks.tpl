{{- /* What a schema cannot say, since it compares values, or texts that are no numbers. */}}
{{- define "tickbridge.checks" -}}
{{- $set := include "tickbridge.effective" . | fromYaml }}
{{- $silence := $set.UPSTREAM__SILENCE_S | float64 }}
{{- $heartbeat := $set.UPSTREAM__HEARTBEAT_S | float64 }}
{{- if le $silence $heartbeat }}
{{- fail (printf "upstream.silenceSeconds is %v and must be above upstream.heartbeatSeconds, which is %v: a quiet market would look like a dead connection" $silence $heartbeat) }}
{{- end }}
{{- $pause := $set.UPSTREAM__REQUEST_INTERVAL_S | default (eq $set.UPSTREAM__DIALECT "alltick" | ternary 1 0) | float64 }}
{{- if lt $heartbeat (mulf 3 $pause) }}
{{- fail (printf "upstream.heartbeatSeconds is %v and must be at least three times upstream.requestIntervalSeconds, which is %v: no request would ever be sent" $heartbeat $pause) }}
{{- end }}
{{- if regexMatch "^(127\\.|::1$|localhost$)" ($set.HTTP__HOST | default "") }}
{{- fail (printf "http.host is %s, where neither probes nor the Service reach it; leave it out, or give 0.0.0.0 or ::" $set.HTTP__HOST) }}
{{- end }}
{{- include "tickbridge.checkRoom" . }}
{{- include "tickbridge.checkVariables" . }}
{{- if and .Values.topics.ensureJob.enabled (eq (toString .Values.topics.ensure) "true") }}
{{- fail "topics.ensure and topics.ensureJob.enabled are both true; keep one of them" }}
{{- end }}
{{- end }}

{{- define "tickbridge.checkRoom" -}}
{{- $spill := (include "tickbridge.effective" . | fromYaml).BACKPRESSURE__SPILL_MAX_BYTES | int64 }}
{{- $room := dict "spill.sizeLimit" .Values.spill.sizeLimit }}
{{- if .Values.spill.persistence.enabled }}
{{- $room = dict "spill.persistence.size" .Values.spill.persistence.size }}
{{- end }}
{{- range $name, $given := $room }}
{{- if and $given (lt (include "tickbridge.bytes" $given | int64) (add $spill 67108864)) }}
{{- fail (printf "%s is %s and must hold backpressure.spillMaxBytes, which is %d, and 64Mi: files are larger than what is in them" $name $given $spill) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A name twice in a container's list is refused by the API server, with words that do not name the value. */}}
{{- define "tickbridge.checkVariables" -}}
{{- $seen := dict }}
{{- range include "tickbridge.kafkaSecrets" (list . "own") | fromYamlArray }}
{{- $_ := set $seen .name "a value of the chart" }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if hasKey $seen .name }}
{{- fail (printf "extraEnv has %s, which is given by %s already; keep one of them" .name (get $seen .name)) }}
{{- end }}
{{- $_ := set $seen .name "another entry" }}
{{- if has .name (list "TICKBRIDGE_UPSTREAM__TOKEN" "TICKBRIDGE_UPSTREAM__TOKEN_FILE") }}
{{- fail (printf "extraEnv has %s; use token.existingSecret, whose rotation needs no restart" .name) }}
{{- end }}
{{- end }}
{{- end }}
