{{- define "tamis.selector" -}}
app.kubernetes.io/name: tamis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "tamis.labels" -}}
{{ include "tamis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
