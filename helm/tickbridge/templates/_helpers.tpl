{{- define "tickbridge.fullname" -}}
{{- $usual := .Release.Name }}
{{- if not (contains .Chart.Name .Release.Name) }}
{{- $usual = printf "%s-%s" .Release.Name .Chart.Name }}
{{- end }}
{{- .Values.fullnameOverride | default $usual | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tickbridge.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tickbridge.labels" -}}
{{ include "tickbridge.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tickbridge.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "tickbridge.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* What the schema cannot say in words that help: the two things that every installation must give. */}}
{{- define "tickbridge.check" -}}
{{- range $name, $_ := .Values.settingsFromSecrets }}
{{- if hasKey $.Values.settings $name }}
{{- fail (printf "%s is given in settings and in settingsFromSecrets; keep one of them" $name) }}
{{- end }}
{{- end }}
{{- if not (hasKey .Values.settingsFromSecrets "KAFKA__BOOTSTRAP_SERVERS") }}
{{- $_ := required "settings.KAFKA__BOOTSTRAP_SERVERS is not set; set it to host:port,host:port of one or more brokers" .Values.settings.KAFKA__BOOTSTRAP_SERVERS }}
{{- end }}
{{- $_ := required "token.existingSecret is not set; set it to the name of the Secret that holds the venue's token" .Values.token.existingSecret }}
{{- end }}
