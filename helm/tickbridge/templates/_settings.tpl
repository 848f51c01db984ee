{{- /* Written by `python -m scripts.chart_schema` from bridge/settings; change it there. */}}

{{- define "tickbridge.settings" -}}
{{- include "tickbridge.setting" (list "NAME" .Values.name) }}
{{- include "tickbridge.setting" (list "UPSTREAM__URL" .Values.upstream.url) }}
{{- include "tickbridge.setting" (list "UPSTREAM__MARKET" .Values.upstream.market) }}
{{- include "tickbridge.setting" (list "UPSTREAM__DIALECT" .Values.upstream.dialect) }}
{{- include "tickbridge.setting" (list "UPSTREAM__PLAN" .Values.upstream.plan) }}
{{- include "tickbridge.setting" (list "UPSTREAM__MAX_SYMBOLS" .Values.upstream.maxSymbols) }}
{{- include "tickbridge.setting" (list "UPSTREAM__REQUEST_INTERVAL_S" .Values.upstream.requestIntervalSeconds) }}
{{- include "tickbridge.setting" (list "UPSTREAM__RECONNECT_MIN_S" .Values.upstream.reconnectMinSeconds) }}
{{- include "tickbridge.setting" (list "UPSTREAM__RECONNECT_MAX_S" .Values.upstream.reconnectMaxSeconds) }}
{{- include "tickbridge.setting" (list "UPSTREAM__HEARTBEAT_S" .Values.upstream.heartbeatSeconds) }}
{{- include "tickbridge.setting" (list "UPSTREAM__SILENCE_S" .Values.upstream.silenceSeconds) }}
{{- include "tickbridge.setting" (list "UPSTREAM__ACK_TIMEOUT_S" .Values.upstream.ackTimeoutSeconds) }}
{{- include "tickbridge.setting" (list "UPSTREAM__CONNECT_TIMEOUT_S" .Values.upstream.connectTimeoutSeconds) }}
{{- include "tickbridge.setting" (list "UPSTREAM__MAX_MESSAGE_BYTES" .Values.upstream.maxMessageBytes) }}
{{- include "tickbridge.setting" (list "KAFKA__BOOTSTRAP_SERVERS" .Values.kafka.bootstrapServers) }}
{{- include "tickbridge.setting" (list "KAFKA__SECURITY_PROTOCOL" .Values.kafka.securityProtocol) }}
{{- include "tickbridge.setting" (list "KAFKA__SASL_MECHANISM" .Values.kafka.sasl.mechanism) }}
{{- include "tickbridge.setting" (list "KAFKA__EXTRA" .Values.kafka.extra) }}
{{- include "tickbridge.setting" (list "TOPICS__SUBSCRIPTIONS" .Values.topics.subscriptions) }}
{{- include "tickbridge.setting" (list "TOPICS__TICKS" .Values.topics.ticks) }}
{{- include "tickbridge.setting" (list "TOPICS__STATUS" .Values.topics.status) }}
{{- include "tickbridge.setting" (list "TOPICS__GAPS" .Values.topics.gaps) }}
{{- include "tickbridge.setting" (list "TOPICS__DEAD_LETTERS" .Values.topics.deadLetters) }}
{{- include "tickbridge.setting" (list "TOPICS__STATE" .Values.topics.state) }}
{{- include "tickbridge.setting" (list "TOPICS__ENSURE" .Values.topics.ensure) }}
{{- include "tickbridge.setting" (list "TOPICS__SUBSCRIPTIONS_PARTITIONS" .Values.topics.subscriptionsPartitions) }}
{{- include "tickbridge.setting" (list "TOPICS__TICKS_PARTITIONS" .Values.topics.ticksPartitions) }}
{{- include "tickbridge.setting" (list "TOPICS__REPLICATION" .Values.topics.replication) }}
{{- include "tickbridge.setting" (list "TOPICS__MIN_INSYNC_REPLICAS" .Values.topics.minInsyncReplicas) }}
{{- include "tickbridge.setting" (list "TOPICS__TICKS_RETENTION_H" .Values.topics.ticksRetentionHours) }}
{{- include "tickbridge.setting" (list "TOPICS__GAPS_RETENTION_H" .Values.topics.gapsRetentionHours) }}
{{- include "tickbridge.setting" (list "TOPICS__DEAD_LETTERS_RETENTION_H" .Values.topics.deadLettersRetentionHours) }}
{{- include "tickbridge.setting" (list "TOPICS__TOMBSTONE_RETENTION_H" .Values.topics.tombstoneRetentionHours) }}
{{- include "tickbridge.setting" (list "GROUP__ID" .Values.group.id) }}
{{- include "tickbridge.setting" (list "GROUP__SESSION_TIMEOUT_S" .Values.group.sessionTimeoutSeconds) }}
{{- include "tickbridge.setting" (list "GROUP__LOST_HOLD_S" .Values.group.lostHoldSeconds) }}
{{- include "tickbridge.setting" (list "BACKPRESSURE__POLICY" .Values.backpressure.policy) }}
{{- include "tickbridge.setting" (list "BACKPRESSURE__HANDED_OVER_MAX" .Values.backpressure.handedOverMax) }}
{{- include "tickbridge.setting" (list "BACKPRESSURE__QUEUE_MAX_BYTES" .Values.backpressure.queueMaxBytes) }}
{{- include "tickbridge.setting" (list "BACKPRESSURE__BLOCK_MAX_S" .Values.backpressure.blockMaxSeconds) }}
{{- include "tickbridge.setting" (list "BACKPRESSURE__SPILL_MAX_BYTES" .Values.backpressure.spillMaxBytes) }}
{{- include "tickbridge.setting" (list "BACKPRESSURE__SPILL_MAX_AGE_S" .Values.backpressure.spillMaxAgeSeconds) }}
{{- include "tickbridge.setting" (list "RECONCILE__REMOVAL_HOLD_S" .Values.reconcile.removalHoldSeconds) }}
{{- include "tickbridge.setting" (list "TICKS__STALE_AFTER_S" .Values.ticks.staleAfterSeconds) }}
{{- include "tickbridge.setting" (list "DEDUPE__WITHOUT_SEQ" .Values.dedupe.withoutSeq) }}
{{- include "tickbridge.setting" (list "HTTP__HOST" .Values.http.host) }}
{{- include "tickbridge.setting" (list "HTTP__PORT" .Values.http.port) }}
{{- include "tickbridge.setting" (list "HTTP__READY_GRACE_S" .Values.http.readyGraceSeconds) }}
{{- include "tickbridge.setting" (list "LOG__FORMAT" .Values.log.format) }}
{{- include "tickbridge.setting" (list "LOG__LEVEL" .Values.log.level) }}
{{- include "tickbridge.setting" (list "SHUTDOWN__BUDGET_S" .Values.shutdown.budgetSeconds) }}
{{- end }}

{{- define "tickbridge.defaults" -}}
NAME: "tickbridge"
UPSTREAM__MARKET: "stock"
UPSTREAM__DIALECT: "alltick"
UPSTREAM__PLAN: "free"
UPSTREAM__RECONNECT_MAX_S: 60.0
UPSTREAM__HEARTBEAT_S: 10.0
UPSTREAM__SILENCE_S: 25.0
UPSTREAM__ACK_TIMEOUT_S: 10.0
UPSTREAM__CONNECT_TIMEOUT_S: 10.0
UPSTREAM__MAX_MESSAGE_BYTES: 1048576
KAFKA__SECURITY_PROTOCOL: "PLAINTEXT"
TOPICS__SUBSCRIPTIONS: "market-data.subscriptions"
TOPICS__TICKS: "market-data.ticks"
TOPICS__STATUS: "market-data.subscription-status"
TOPICS__GAPS: "market-data.gaps"
TOPICS__DEAD_LETTERS: "market-data.subscriptions.dead-letters"
TOPICS__STATE: "market-data.bridge-state"
TOPICS__ENSURE: false
TOPICS__SUBSCRIPTIONS_PARTITIONS: 1
TOPICS__TICKS_PARTITIONS: 12
TOPICS__REPLICATION: 3
TOPICS__MIN_INSYNC_REPLICAS: 2
TOPICS__TICKS_RETENTION_H: 168.0
TOPICS__GAPS_RETENTION_H: 720.0
TOPICS__DEAD_LETTERS_RETENTION_H: 720.0
TOPICS__TOMBSTONE_RETENTION_H: 168.0
GROUP__SESSION_TIMEOUT_S: 10.0
BACKPRESSURE__POLICY: "drop_oldest"
BACKPRESSURE__HANDED_OVER_MAX: 25000
BACKPRESSURE__QUEUE_MAX_BYTES: 67108864
BACKPRESSURE__BLOCK_MAX_S: 8.0
BACKPRESSURE__SPILL_MAX_BYTES: 1073741824
BACKPRESSURE__SPILL_MAX_AGE_S: 259200.0
RECONCILE__REMOVAL_HOLD_S: 30.0
TICKS__STALE_AFTER_S: 60.0
HTTP__HOST: "0.0.0.0"
HTTP__PORT: 8080
HTTP__READY_GRACE_S: 60.0
LOG__FORMAT: "json"
LOG__LEVEL: "info"
SHUTDOWN__BUDGET_S: 25.0
{{- end }}
