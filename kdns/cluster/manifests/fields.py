"""The fields that the API has, of the kinds that are served here: to tell a misspelt one, and which was meant.

An API server drops what it does not know, kubectl refuses it; a misspelt `selector` without a word would be an hour's search.
What DNS rests on nothing of (volumes, probes, status) is not looked into. Fields are those of Kubernetes 1.36; a test holds
the table against the models of the package `kubernetes`. Those of the Gateway API are of its version 1.4.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from kdns.cluster.balancers import ROUTES

_TABLE = """
Service = apiVersion kind metadata:ObjectMeta spec:ServiceSpec status
ServiceSpec = allocateLoadBalancerNodePorts clusterIP clusterIPs externalIPs externalName externalTrafficPolicy
    healthCheckNodePort internalTrafficPolicy ipFamilies ipFamilyPolicy loadBalancerClass loadBalancerIP
    loadBalancerSourceRanges ports:ServicePort publishNotReadyAddresses selector sessionAffinity sessionAffinityConfig
    trafficDistribution type
ServicePort = appProtocol name nodePort port protocol targetPort
Endpoints = apiVersion kind metadata:ObjectMeta subsets:EndpointSubset
EndpointSubset = addresses:EndpointAddress notReadyAddresses:EndpointAddress ports:EndpointPort
EndpointAddress = hostname ip nodeName targetRef:ObjectReference
EndpointPort = appProtocol name port protocol
ObjectReference = apiVersion fieldPath kind name namespace resourceVersion uid
EndpointSlice = addressType apiVersion endpoints:Endpoint kind metadata:ObjectMeta ports:SlicePort
Endpoint = addresses conditions:EndpointConditions deprecatedTopology hints hostname nodeName targetRef:ObjectReference zone
EndpointConditions = ready serving terminating
SlicePort = appProtocol name port protocol
Pod = apiVersion kind metadata:ObjectMeta spec:PodSpec status:PodStatus
PodSpec = activeDeadlineSeconds affinity automountServiceAccountToken containers:Container dnsConfig dnsPolicy
    enableServiceLinks ephemeralContainers evictionResponders hostAliases hostIPC hostNetwork hostPID hostUsers hostname
    hostnameOverride imagePullSecrets initContainers:Container nodeName nodeSelector os overhead preemptionPolicy priority
    priorityClassName readinessGates resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates
    schedulingGroup securityContext serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain
    terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes
Container = args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports:ContainerPort readinessProbe
    resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce
    terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir
ContainerPort = containerPort hostIP hostPort name protocol
PodStatus = allocatedResources conditions:PodCondition containerStatuses ephemeralContainerStatuses
    extendedResourceClaimStatus hostIP hostIPs initContainerStatuses message nodeAllocatableResourceClaimStatuses
    nominatedNodeName observedGeneration phase podIP podIPs:PodIP qosClass reason resize resourceClaimStatuses resources
    startTime volumeHealth
PodIP = ip
PodCondition = lastProbeTime lastTransitionTime message observedGeneration reason status type
Namespace = apiVersion kind metadata:ObjectMeta spec status
Node = apiVersion kind metadata:ObjectMeta spec status
ObjectMeta = annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation
    labels managedFields name namespace ownerReferences resourceVersion selfLink uid
Deployment = apiVersion kind metadata:ObjectMeta spec:DeploymentSpec status
DeploymentSpec = minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit selector:LabelSelector
    strategy template:PodTemplateSpec
StatefulSet = apiVersion kind metadata:ObjectMeta spec:StatefulSetSpec status
StatefulSetSpec = minReadySeconds ordinals:StatefulSetOrdinals persistentVolumeClaimRetentionPolicy podManagementPolicy
    replicas revisionHistoryLimit selector:LabelSelector serviceName template:PodTemplateSpec updateStrategy
    volumeClaimTemplates
StatefulSetOrdinals = start
DaemonSet = apiVersion kind metadata:ObjectMeta spec:DaemonSetSpec status
DaemonSetSpec = minReadySeconds revisionHistoryLimit selector:LabelSelector template:PodTemplateSpec updateStrategy
ReplicaSet = apiVersion kind metadata:ObjectMeta spec:ReplicaSetSpec status
ReplicaSetSpec = minReadySeconds replicas selector:LabelSelector template:PodTemplateSpec
Job = apiVersion kind metadata:ObjectMeta spec:JobSpec status
JobSpec = activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions managedBy manualSelector
    maxFailedIndexes parallelism podFailurePolicy podReplacementPolicy scheduling selector:LabelSelector successPolicy
    suspend template:PodTemplateSpec ttlSecondsAfterFinished
LabelSelector = matchExpressions:LabelSelectorRequirement matchLabels
LabelSelectorRequirement = key operator values
PodTemplateSpec = metadata:ObjectMeta spec:PodSpec
Ingress = apiVersion kind metadata:ObjectMeta spec:IngressSpec status:IngressStatus
IngressSpec = defaultBackend ingressClassName rules:IngressRule tls
IngressRule = host http
IngressStatus = loadBalancer:IngressLoadBalancerStatus
IngressLoadBalancerStatus = ingress:IngressLoadBalancerIngress
IngressLoadBalancerIngress = hostname ip ports
Gateway = apiVersion kind metadata:ObjectMeta spec status:GatewayStatus
GatewayStatus = addresses:GatewayStatusAddress attachedListenerSets conditions listeners
GatewayStatusAddress = type value
HTTPRoute = apiVersion kind metadata:ObjectMeta spec:RouteSpec status
GRPCRoute = apiVersion kind metadata:ObjectMeta spec:RouteSpec status
TLSRoute = apiVersion kind metadata:ObjectMeta spec:RouteSpec status
RouteSpec = hostnames parentRefs:ParentReference rules useDefaultGateways
ParentReference = group kind name namespace port sectionName
"""
FIELDS: dict[str, dict[str, str]] = {}  # of each type its fields, and their type where it is in the table
for _name, _words in re.findall(r"^(\w+) = (.*(?:\n    .*)*)", _TABLE, re.MULTILINE):
    FIELDS[_name] = dict(word.partition(":")[::2] for word in _words.split())

GROUPS = {  # of each kind that is served here
    "Namespace": "", "Node": "", "Service": "", "EndpointSlice": "discovery.k8s.io", "Endpoints": "", "Pod": "",
    "Deployment": "apps", "ReplicaSet": "apps", "StatefulSet": "apps", "DaemonSet": "apps", "Job": "batch",
}  # fmt: skip
_WHOLE = frozenset(GROUPS.values())  # groups whose other kinds are no neighbours of these
GROUPS["Ingress"] = "networking.k8s.io"
GROUPS |= dict.fromkeys(("Gateway", *ROUTES), "gateway.networking.k8s.io")
_OLD = {("Ingress", "extensions"), ("Deployment", "extensions"), ("ReplicaSet", "extensions"), ("DaemonSet", "extensions")}
_VERSION = re.compile(r"v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?").fullmatch


def is_served(kind: str, version: str, strict: bool) -> bool:
    """Is it a kind that is served here? Other groups have kinds of the same names: a `Service` of Knative is none.

    ValueError, where it must be `strict`, of what is almost one.
    """
    group, _, number = version.rpartition("/")
    if kind not in GROUPS:
        if strict and group in _WHOLE and not kind.endswith("List") and (meant := nearest(kind, (*GROUPS, "List"))):
            raise ValueError(f"kind: '{kind}' is none{meant}")
        return False
    of = GROUPS[kind]
    full = f"{of}/v1" if of else "v1"
    if not version or (group == of and _VERSION(number)) or (kind, group) in _OLD:
        return True
    near = of in _WHOLE and get_close_matches(version, [full], 1, 0.7)  # Istio, too, has Gateways
    if strict and ("." not in group or near):
        raise ValueError(f"apiVersion: {'an' if kind[0] in 'EHI' else 'a'} {kind} is of {full}, not of '{version}'")
    return group == of


def check_fields(kind: str, content: dict[str, Any]) -> None:
    """ValueError for the first field that the API does not have; objects that come from an API server are not looked at."""
    metadata = content.get("metadata")
    if not (isinstance(metadata, dict) and metadata.get("uid")):
        _check(kind, content, "")


def _check(type: str, content: Any, path: str) -> None:
    if isinstance(content, list):
        for i, one in enumerate(content):
            _check(type, one, f"{path[:-1]}[{i}].")
    if not isinstance(content, dict):
        return  # wrong otherwise, and told where it is decoded
    fields = FIELDS[type]
    for name, below in content.items():
        if name not in fields:
            raise ValueError(f"{path}{_shown(name)}: no such field{_meant(type, name)}")
        if fields[name]:
            _check(fields[name], below, f"{path}{name}.")


def _meant(type: str, name: Any) -> str:
    """Which field was meant: one of a similar name, or one of that name a step below."""
    fields = FIELDS[type]
    if meant := nearest(str(name), fields):
        return meant
    below = next((f"{field}.{name}" for field, of in fields.items() if of and name in FIELDS[of]), "")
    return f", did you mean '{below}'?" if below else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'selector'?`, or nothing where none is near; case and a plural are no difference."""
    every = {one.lower(): one for one in known}
    near = get_close_matches(name.lower()[:100], every, 1, 0.75)
    return f", did you mean '{every[near[0]]}'?" if near else ""


def _shown(name: Any) -> str:
    return str(name)[:100]
