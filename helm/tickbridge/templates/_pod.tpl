{{- /* What all pods of the release have in common. No service links: those of a Service called tickbridge would be TICKBRIDGE_PORT and the like, among the settings. */}}
{{- define "tickbridge.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with concat .Values.imagePullSecrets ((.Values.global).imagePullSecrets | default list) }}
imagePullSecrets:
  {{- uniq . | toYaml | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "tickbridge.podSecurityContext" -}}
{{- $context := deepCopy .Values.podSecurityContext }}
{{- if and .Values.spill.persistence.enabled .Values.spill.persistence.fsGroup }}
{{- $_ := mergeOverwrite $context (dict "fsGroup" (int64 .Values.spill.persistence.fsGroup) "fsGroupChangePolicy" "OnRootMismatch") }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{- define "tickbridge.topologySpread" -}}
{{- $select := dict "matchLabels" (include "tickbridge.selectorLabels" . | fromYaml) }}
{{- $constraints := list }}
{{- range .Values.topologySpreadConstraints }}
{{- $constraints = append $constraints (merge (deepCopy .) (dict "labelSelector" $select)) }}
{{- else }}
{{- if gt (int .Values.replicaCount) 1 }}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
{{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" . "whenUnsatisfiable" "ScheduleAnyway" "labelSelector" $select) }}
{{- end }}
{{- end }}
{{- end }}
{{- with $constraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tickbridge.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if and .Values.spill.enabled (not .Values.spill.persistence.enabled) }}
{{- $asked := $resources.requests | default dict }}
{{- $_ := set $resources "requests" (merge $asked (dict "ephemeral-storage" (include "tickbridge.spillLimit" .))) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{- /* Of the bridge. The token has no checksum: it is followed, not read once. */}}
{{- define "tickbridge.podTemplate" -}}
metadata:
  labels:
    {{- /* Neither the chart's version nor ours: a pod restarts for what it is told, and a restart costs ticks. */}}
    {{- merge (include "tickbridge.selectorLabels" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml | nindent 4 }}
  annotations:
    checksum/config: {{ include "tickbridge.environment" . | sha256sum }}
    {{- with .Values.kafka.sasl.password }}
    checksum/sasl: {{ sha256sum . }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tickbridge.serviceAccountName" . }}
  {{- include "tickbridge.podBasics" . | nindent 2 }}
  # What the bridge allows itself to drain and flush, and ten seconds to say goodbye.
  terminationGracePeriodSeconds: {{ add (ceil ((include "tickbridge.effective" . | fromYaml).SHUTDOWN__BUDGET_S | float64)) 10 }}
  securityContext:
    {{- include "tickbridge.podSecurityContext" . | nindent 4 }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "tickbridge.topologySpread" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: tickbridge
      {{- include "tickbridge.container" . | nindent 6 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "tickbridge.volumes" . | nindent 4 }}
{{- end }}

{{- define "tickbridge.container" -}}
image: {{ include "tickbridge.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
envFrom:
  - configMapRef:
      name: {{ include "tickbridge.fullname" . }}
  {{- with .Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $secrets := include "tickbridge.kafkaSecrets" (list . (printf "%s-sasl" (include "tickbridge.fullname" .))) }}
{{- if or $secrets .Values.extraEnv }}
env:
  {{- with trim $secrets }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
ports:
  - name: http
    containerPort: {{ .Values.http.port | default 8080 }}
    protocol: TCP
startupProbe:
  httpGet: {path: /healthz, port: http}
  {{- toYaml .Values.startupProbe | nindent 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: http}
  {{- toYaml .Values.livenessProbe | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: http}
  {{- toYaml .Values.readinessProbe | nindent 2 }}
resources:
  {{- include "tickbridge.resources" . | nindent 2 }}
volumeMounts:
  # The whole directory: a subPath would never see the Secret change.
  - name: token
    mountPath: /etc/tickbridge/token
    readOnly: true
  {{- if .Values.spill.enabled }}
  # The bridge makes a directory of its own in it: a volume's root may hold other things, such as lost+found.
  - name: spill
    mountPath: /var/lib/tickbridge
  {{- end }}
  {{- if .Values.upstream.ca.existingSecret }}
  - name: upstream-ca
    mountPath: /etc/tickbridge/upstream-ca
    readOnly: true
  {{- end }}
  {{- if .Values.ticks.calendar.existingConfigMap }}
  - name: calendar
    mountPath: /etc/tickbridge/calendar
    readOnly: true
  {{- end }}
  {{- with include "tickbridge.kafkaMounts" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "tickbridge.volumes" -}}
- name: token
  secret:
    secretName: {{ include "tickbridge.tokenSecret" . }}
    items:
      - key: {{ empty .Values.token.existingSecret | ternary "token" .Values.token.key }}
        path: token
{{- if and .Values.spill.enabled (not .Values.spill.persistence.enabled) }}
- name: spill
  emptyDir:
    sizeLimit: {{ include "tickbridge.spillLimit" . }}
{{- end }}
{{- with .Values.upstream.ca }}
{{- if .existingSecret }}
- name: upstream-ca
  secret:
    secretName: {{ .existingSecret }}
    items:
      - key: {{ .key }}
        path: ca.crt
{{- end }}
{{- end }}
{{- with .Values.ticks.calendar }}
{{- if .existingConfigMap }}
- name: calendar
  configMap:
    name: {{ .existingConfigMap }}
    items:
      - key: {{ .key }}
        path: calendar.yaml
{{- end }}
{{- end }}
{{- include "tickbridge.kafkaVolumes" . }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A Job's or a test's pod; called with a dict: root, component, args and, where there is more to say, command, mounts and volumes (texts), account, kafka (true: it talks to Kafka) and secret (what holds a password given as a value). */}}
{{- define "tickbridge.hookPod" -}}
{{- $root := .root -}}
{{- with .account }}
serviceAccountName: {{ . }}
{{- end }}
{{- include "tickbridge.podBasics" $root | nindent 0 }}
restartPolicy: Never
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
containers:
  - name: {{ .component }}
    image: {{ include "tickbridge.image" $root | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    securityContext:
      {{- toYaml $root.Values.securityContext | nindent 6 }}
    {{- with .command }}
    command:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    args:
      {{- toYaml .args | nindent 6 }}
    {{- if .kafka }}
    env:
      {{- include "tickbridge.kafkaSettings" $root | trim | nindent 6 }}
      {{- with include "tickbridge.kafkaSecrets" (list $root .secret) | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with $root.Values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $root.Values.extraEnvFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- end }}
    resources:
      {{- toYaml $root.Values.hookJobs.resources | nindent 6 }}
    {{- with include "tickbridge.hookMounts" . | trim }}
    volumeMounts:
      {{- . | nindent 6 }}
    {{- end }}
{{- with include "tickbridge.hookVolumes" . | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tickbridge.hookMounts" -}}
{{- with .mounts }}
{{ . }}
{{- end }}
{{- if .kafka }}
{{- include "tickbridge.kafkaMounts" .root }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tickbridge.hookVolumes" -}}
{{- with .volumes }}
{{ . }}
{{- end }}
{{- if .kafka }}
{{- include "tickbridge.kafkaVolumes" .root }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}
