import asyncio
import math
import time

import pytest

from kdns.plugins import health
from kdns.plugins.health import Health
from kdns.server.run import Server
from tests.support.configured import generation_of, in_block


async def get(port: int, path: str) -> tuple[str, str]:
    """Status and body of a page on 127.0.0.1."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.split()[1], answer.partition("\r\n\r\n")[2]


def test_healthy_until_the_end_of_lameduck(free_port: int) -> None:
    block = in_block(f"whoami\nhealth localhost:{free_port} {{\nlameduck 300ms\n}}\nready localhost:{free_port}")

    async def run() -> tuple[list[tuple[str, str]], float]:
        server = Server(block, dns_port=free_port + 1)
        await server.start()
        seen = [await get(free_port, "/health"), await get(free_port, "/ready")]
        begun = time.monotonic()
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0.05)
        seen += [await get(free_port, "/health"), await get(free_port, "/ready")]
        await stopping
        return seen, time.monotonic() - begun

    seen, seconds = asyncio.run(run())
    assert [("200", "OK"), ("200", "OK"), ("200", "OK"), ("503", "shutting down\n")] == seen
    assert seconds >= 0.3


@pytest.mark.parametrize(
    ("reply", "failures"),
    [(b"HTTP/1.1 200 OK\r\n\r\nOK", 0), (b"HTTP/1.1 500 Oh\r\n\r\n", 1), (b"", 1), (None, 1)],
    ids=["answered", "500", "closed", "nobody there"],
)
def test_it_asks_itself(
    reply: bytes | None, failures: int, free_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "PERIOD", 0.02)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply or b"")
        writer.close()

    async def run() -> float:
        generation = generation_of(in_block(f"health :{free_port}"))
        registry = generation.metrics.registry()
        [plugin] = generation.blocks[0].named("health")
        assert isinstance(plugin, Health)
        listener = await asyncio.start_server(answer, "127.0.0.1", free_port) if reply is not None else None
        running = asyncio.ensure_future(plugin.run())
        for _ in range(200):
            if registry.get_sample_value("coredns_health_request_duration_seconds_count"):
                break
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
        if listener is not None:
            listener.close()
            await listener.wait_closed()
        bounds = [0.00025, 0.0025, 0.025, 0.25, 2.5, math.inf]
        name = "coredns_health_request_duration_seconds"
        buckets = [s.labels["le"] for m in registry.collect() if m.name == name for s in m.samples if "le" in s.labels]
        assert bounds == [float(le) for le in buckets]
        return registry.get_sample_value("coredns_health_request_failures_total") or 0.0

    counted = asyncio.run(run())
    assert (counted > 0) == bool(failures)
    assert bool(failures) == (f"/health on port {free_port} failed" in caplog.text)


def test_server_blocks_and_generations_share_what_is_measured() -> None:
    generation = generation_of("a. {\nhealth :8080\n}\nb. {\nhealth :8081\n}\n")
    [one], [other] = (block.named("health") for block in generation.blocks)
    assert isinstance(one, Health) and isinstance(other, Health)
    assert one.failures is other.failures
    assert [":8080", ":8081"] == list(generation.pages)
