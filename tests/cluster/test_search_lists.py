"""What is a try of a search list, and what a misspelt name of the cluster."""

import pytest

from kdns.cluster.account import search_try
from kdns.cluster.objects import Namespace
from kdns.cluster.store import Store

ZONE = "cluster.local."


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("api.example.com.prod.svc", ("api.example.com.", "prod.svc.cluster.local.")),
        ("example.com.prod.svc", ("example.com.", "prod.svc.cluster.local.")),
        ("com.prod.svc", None),  # a Service may be called so
        ("web.prod.svc.cluster.local.prod.svc", ("web.prod.svc.cluster.local.", "prod.svc.cluster.local.")),
        ("api.example.com.svc", ("api.example.com.", "svc.cluster.local.")),
        ("example.com.svc", ("example.com.", "svc.cluster.local.")),
        ("api.example.com", ("api.example.com.", "cluster.local.")),
        ("web.prod.svc.cluster.local", ("web.prod.svc.cluster.local.", "cluster.local.")),
        ("a.host.of.corp.prod.svc", ("a.host.of.corp.", "prod.svc.cluster.local.")),
        ("web-0.web.prod.svc", None),
        ("_http._tcp.web.prod.svc", None),
        ("web.prod.svc", None),
        ("web.nosuch.svc", None),
        ("prod.svc", None),
        ("web.prod", None),
        ("1-2-3-4.prod.pod", None),
        ("", None),
    ],
)
def test_what_a_search_list_made(name: str, expected: tuple[str, str] | None) -> None:
    store = Store()
    store.put(Namespace("prod", ()))
    assert expected == search_try(store, f"{name}.{ZONE}".lstrip("."), ZONE)


def test_of_a_zone_of_addresses_nothing_is_one() -> None:
    assert None is search_try(Store(), "com.10.in-addr.arpa.", "10.in-addr.arpa.")
