"""*metadata* - lets what plugins know of a query be used by name, in *log*, *rewrite* and *view*.

Description
    Plugins know things about a query that it does not say itself: whose Pod asks, which Service is meant. With this plugin
    they have names, *labels*, such as `kubernetes/client-namespace`. Nothing is found out before it is needed.

    - *kubernetes*: `kubernetes/kind` (svc or pod), `kubernetes/namespace`, `kubernetes/service`, `kubernetes/endpoint`,
      `kubernetes/port-name` and `kubernetes/protocol` of a name in its zones, `kubernetes/zone` with `zonal`; or
      `kubernetes/parse-error` where the name is none of these. With `pods verified` also `kubernetes/client-namespace`,
      `kubernetes/client-pod-name` and `kubernetes/client-label/KEY`, of the Pod whose address asks.
    - *view*: `view/name`.
    - *log* alone, with or without this plugin: `log/class`, `log/type`, and `forward/upstream`, the one that answered.

    A format of *log* has them as `{/kubernetes/client-namespace}`, *rewrite* as `{kubernetes/client-namespace}`, an
    expression of *view* as `metadata('kubernetes/client-namespace')`. What is not known is `-` in a log, and nothing elsewhere.

Syntax
    metadata [ZONES...]

    - ZONES are those whose names have labels, the server block's own by default.

Metrics
    None.

Examples
    The Pod that asks, in each line of the log:

        cluster.local {
            metadata
            log . "{/kubernetes/client-namespace}/{/kubernetes/client-pod-name} {common}"
            kubernetes {
                manifests zones/cluster.yaml
                pods verified
            }
        }
"""

from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, zones
from kdns.core.block import Block
from kdns.core.plugin import Plugin


@dataclass(frozen=True)
class Options:
    zones: tuple[str, ...] = argument(zones)


class Metadata(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        block.label_names(options.zones or block.zones)
