"""Endpoints as slices, as a cluster's controllers cut them."""

from kdns.cluster.endpoints import mirrored
from kdns.cluster.objects import EndpointAddress, EndpointsObject, Metadata, Subset


def test_no_slice_is_long() -> None:
    four = [EndpointAddress(f"10.0.{n >> 8}.{n & 255}") for n in range(250)]
    slices = mirrored(EndpointsObject(Metadata("db", "p"), [Subset([*four, EndpointAddress("fd00::1")])]))
    expected = [("db:ipv4:0", 100), ("db:ipv4:1", 100), ("db:ipv4:2", 50), ("db:ipv6:3", 1)]
    assert expected == [(s.metadata.name, len(s.endpoints or ())) for s in slices]
    assert four == [EndpointAddress(e.addresses[0]) for s in slices[:3] for e in s.endpoints or ()]
