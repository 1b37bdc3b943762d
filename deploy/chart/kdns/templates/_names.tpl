{{- define "kdns.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "kdns.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "kdns.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "kdns.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "kdns.k8sapp" -}}
{{- if .Values.k8sAppLabelOverride -}}
{{- .Values.k8sAppLabelOverride -}}
{{- else if .Values.isClusterService -}}
kube-dns
{{- else -}}
{{- include "kdns.name" . -}}
{{- end -}}
{{- end }}

{{- define "kdns.selector" -}}
app.kubernetes.io/name: {{ include "kdns.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
k8s-app: {{ include "kdns.k8sapp" . }}
{{- end }}

{{- define "kdns.labels" -}}
{{ include "kdns.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- if .Values.isClusterService }}
kubernetes.io/cluster-service: "true"
kubernetes.io/name: CoreDNS
{{- end }}
{{- with .Values.customLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kdns.deployment" -}}
{{- default (include "kdns.fullname" .) .Values.deployment.name -}}
{{- end }}

{{- define "kdns.serviceaccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kdns.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "kdns.clusterrole" -}}
{{- default (include "kdns.fullname" .) .Values.clusterRole.nameOverride -}}
{{- end }}

{{- define "kdns.service" -}}
{{- if .Values.service.name -}}
{{- .Values.service.name -}}
{{- else if .Values.isClusterService -}}
kube-dns
{{- else -}}
{{- include "kdns.fullname" . -}}
{{- end -}}
{{- end }}

{{- /* The Corefile of .Values.servers. */ -}}
{{- define "kdns.corefile" -}}
{{- range $name, $extra := .Values.extraConfig }}
{{ $name }}{{ with $extra.parameters }} {{ . }}{{ end }}
{{- end }}
{{- range .Values.servers }}
{{- $port := .port }}
{{ range $i, $zone := default (list (dict "zone" ".")) .zones -}}
{{- if $i }} {{ end -}}
{{- $zone.scheme | default "" -}}{{- $zone.zone | default "." -}}{{- with $port }}:{{ . }}{{ end -}}
{{- end }} {
{{- range .plugins }}
    {{ .name }}{{ with .parameters }} {{ . }}{{ end }}
{{- with .configBlock }} {
{{ . | indent 8 }}
    }
{{- end }}
{{- end }}
}
{{- end }}
{{- end }}

{{- /* The port of a plugin that listens for HTTP, 0 where no server has it: (list servers name default) */ -}}
{{- define "kdns.httpport" -}}
{{- $port := 0 -}}
{{- $name := index . 1 -}}
{{- $default := index . 2 -}}
{{- range index . 0 -}}
{{- range .plugins -}}
{{- if eq .name $name -}}
{{- $port = (regexFind "[0-9]+$" (default (printf ":%v" $default) .parameters | toString)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $port -}}
{{- end }}

{{- /* The ports that servers listen on, as a JSON list without doubles, in the order of the servers. */ -}}
{{- define "kdns.ports" -}}
{{- $seen := dict -}}
{{- $ports := list -}}
{{- range .Values.servers -}}
{{- $protocols := list "UDP" "TCP" -}}
{{- $default := 53 -}}
{{- range .zones -}}
{{- if has (default "" .scheme) (list "tls://" "https://" "grpc://") -}}
{{- $protocols = list "TCP" -}}
{{- $default = ternary 853 443 (eq .scheme "tls://") -}}
{{- end -}}
{{- end -}}
{{- $port := int (default $default .port) -}}
{{- $service := int (default $port .servicePort) -}}
{{- $node := .nodePort -}}
{{- range $protocols -}}
{{- $key := printf "%s-%d" (lower .) $port -}}
{{- if not (hasKey $seen $key) -}}
{{- $_ := set $seen $key true -}}
{{- $entry := dict "name" $key "port" $service "containerPort" $port "protocol" . -}}
{{- if $node -}}{{- $_ := set $entry "nodePort" (int $node) -}}{{- end -}}
{{- $ports = append $ports $entry -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $ports | toJson -}}
{{- end }}
