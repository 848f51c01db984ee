{{- /* Names, labels and the image. */}}

{{- define "tickbridge.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 48 | trimSuffix "-" }}
{{- end }}

{{- /* Of 48 characters at most: what is made from it (…-subscriptions, the revisions of a StatefulSet) must fit 63. */}}
{{- define "tickbridge.fullname" -}}
{{- $name := include "tickbridge.name" . }}
{{- $usual := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $usual | trunc 48 | trimSuffix "-" }}
{{- end }}

{{- /* What every pod of the release has, those of the Jobs and tests included. */}}
{{- define "tickbridge.releaseLabels" -}}
app.kubernetes.io/name: {{ include "tickbridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* What the pods of the bridge, and its Service, have and nothing else. */}}
{{- define "tickbridge.selectorLabels" -}}
{{ include "tickbridge.releaseLabels" . }}
app.kubernetes.io/component: bridge
{{- end }}

{{- define "tickbridge.labels" -}}
{{- $own := include "tickbridge.releaseLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- merge $own .Values.commonLabels | toYaml }}
{{- end }}

{{- /* Of a pod that is not the bridge; called with (root, component). */}}
{{- define "tickbridge.hookPodLabels" -}}
{{- $root := index . 0 }}
{{- $own := include "tickbridge.releaseLabels" $root | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/component" (index . 1) }}
{{- merge $own $root.Values.hookJobs.podLabels $root.Values.commonLabels | toYaml }}
{{- end }}

{{- define "tickbridge.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "tickbridge.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "tickbridge.image" -}}
{{- $registry := .Values.image.registry | default (.Values.global).imageRegistry }}
{{- $name := empty $registry | ternary .Values.image.repository (printf "%s/%s" $registry .Values.image.repository) }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- /* A StatefulSet where each replica has a volume of its own. */}}
{{- define "tickbridge.workload" -}}
{{- .Values.spill.persistence.enabled | ternary "StatefulSet" "Deployment" }}
{{- end }}

{{- define "tickbridge.tokenSecret" -}}
{{- .Values.token.existingSecret | default (printf "%s-token" (include "tickbridge.fullname" .)) }}
{{- end }}
