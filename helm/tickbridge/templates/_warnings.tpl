{{- /* What can be installed and is seldom meant. */}}
{{- define "tickbridge.warnings" -}}
{{- $set := include "tickbridge.effective" . | fromYaml }}
{{- $partitions := $set.TOPICS__SUBSCRIPTIONS_PARTITIONS | int }}
{{- $said := list }}
{{- if gt (int .Values.replicaCount) (add $partitions 1 | int) }}
{{- $said = append $said (printf "replicaCount is %d, and the control topic has %d partition(s): %d of the replicas can only wait. One standby is enough for most." (int .Values.replicaCount) $partitions (sub (int .Values.replicaCount) $partitions)) }}
{{- end }}
{{- if and (gt (int .Values.replicaCount) 0) (lt (int .Values.replicaCount) $partitions) }}
{{- $said = append $said (printf "The control topic has %d partitions for %d replica(s): each owner holds several connections to the venue. Does your plan allow that many?" $partitions (int .Values.replicaCount)) }}
{{- end }}
{{- if not .Values.spill.enabled }}
{{- $said = append $said (printf "spill.enabled is false: when Kafka is away for longer than backpressure.queueMaxBytes (%s) lasts, ticks are lost (%s), counted and told in the topic %s." $set.BACKPRESSURE__QUEUE_MAX_BYTES $set.BACKPRESSURE__POLICY $set.TOPICS__GAPS) }}
{{- end }}
{{- range $name, $value := dict "token.value" .Values.token.value "kafka.sasl.password" .Values.kafka.sasl.password }}
{{- if $value }}
{{- $said = append $said (printf "%s lies open in the release's values (`helm get values`): use a Secret for anything but a trial." $name) }}
{{- end }}
{{- end }}
{{- with (.Values.resources.limits).memory }}
{{- if lt (include "tickbridge.bytes" . | int64) (add (mul 2 ($set.BACKPRESSURE__QUEUE_MAX_BYTES | int64)) 167772160) }}
{{- $said = append $said (printf "resources.limits.memory is %v, less than twice backpressure.queueMaxBytes (%s) and 160Mi: a long outage of Kafka can get the pod killed." . $set.BACKPRESSURE__QUEUE_MAX_BYTES) }}
{{- end }}
{{- end }}
{{- if and .Values.subscriptionsPrune (not .Values.subscriptions) }}
{{- $said = append $said "subscriptionsPrune does nothing while subscriptions is empty: it will not remove the last symbols for you." }}
{{- end }}
{{- range $said }}

WARNING: {{ . }}
{{- end }}
{{- end }}
