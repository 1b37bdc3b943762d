"""The page in a browser: what it shows, by keyboard, in light and dark, on a phone, and while the server is away."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest

import kdns.testing
from kdns.plugins.page import onlooker
from kdns.testing.ports import free_port
from tests.support.browser import Browser, missing
from tests.support.small_cluster import MANIFESTS

if missing():
    if os.environ.get("CI") == "true":
        pytest.fail(f"there is no browser: install {missing()}", pytrace=False)
    pytest.skip(f"there is no browser: install {missing()}", allow_module_level=True)

NAMES = (
    "web.prod.svc.cluster.local.", "api.example.com.prod.svc.cluster.local.",
    r"\<img\032src=x\032onerror=alert\(1\)>.prod.svc.cluster.local.",
)  # fmt: skip
SCHEMES = ("light", "dark")
STATE = "return document.querySelector('#state').innerText"
WIDTHS = (390, 1280)


def corefile_in(folder: Path) -> str:
    """A Corefile with a page of its own."""
    (folder / "town.yaml").write_text(MANIFESTS)
    kubernetes = f"kubernetes cluster.local {{\nmanifests {folder}/town.yaml\n}}"
    return f".:0 {{\nbind 127.0.0.1\npage 127.0.0.1:{free_port()}\n{kubernetes}\nforward . 127.0.0.1:1\n}}\n"


def url(corefile: str) -> str:
    [address] = re.findall("page (.*)", corefile)
    return f"http://{address}/"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The page, open, of a server that was asked for some names."""
    corefile = corefile_in(tmp_path_factory.mktemp("page"))
    with (
        pytest.MonkeyPatch.context() as patch, kdns.testing.serve(corefile=corefile) as server, Browser() as browser
    ):  # fmt: skip
        patch.setattr(onlooker, "EVERY", 0.0)  # each query is looked at
        browser.wear(1280, 900)
        browser.open(url(corefile))
        browser.until("live", STATE)
        asked(server.address[1])
        browser.until(len(NAMES), "return document.querySelectorAll('#top-names tbody tr').length")
        yield browser


def asked(port: int) -> None:
    for name in NAMES:
        dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", 5, port)


def text(browser: Browser, selector: str) -> Any:
    return browser.run("return document.querySelector(arguments[0]).innerText", selector)


def focused(browser: Browser) -> str:
    """What has the focus: its id, or name, or text."""
    found: str = browser.run("const e = document.activeElement; return e.id || e.name || e.innerText || e.tagName")
    return found


def test_it_shows_the_server_at_work(browser: Browser) -> None:
    assert [] == browser.errors()
    browser.until(lambda rate: rate != "–", "return document.querySelector('#rate').innerText")
    assert ". on dns://127.0.0.1" in text(browser, "#servers")
    codes = browser.run("return [...document.querySelectorAll('#codes td:first-child')].map(e => e.innerText)")
    assert {"NOERROR", "NXDOMAIN"} == set(codes)
    assert text(browser, "#top-clients tbody").startswith("127.0.0.1")
    assert "prod.svc.cluster.local.\napi.example.com." == text(browser, "#suffixes td")
    assert 'name: ndots\n    value: "2"' in text(browser, "#dns-config")
    assert "127.0.0.1:1" == text(browser, "#asked .mono")


def test_names_are_text_whatever_they_are(browser: Browser) -> None:
    names = browser.run("return [...document.querySelectorAll('#top-names .link')].map(e => e.textContent)")
    assert set(NAMES) == {name.replace("<", "\\<") for name in names}
    assert 0 == browser.run("return document.querySelectorAll('main img').length")


def test_explain_by_keyboard(browser: Browser) -> None:
    browser.run("document.querySelector('#ask input').focus()")
    browser.press("db-1.db.prod.svc.cluster.local", "Enter")
    expected = "db-1.db.prod.svc.cluster.local does not exist: db-1, an endpoint of Service prod/db, is not ready"
    browser.until(lambda said: said.startswith(expected), "return document.querySelector('#sentence').innerText")
    assert "kubernetes answered" in text(browser, ".steps")
    browser.run("document.querySelector('#ask [name=type]').focus()")
    browser.press("NOSUCH", "Enter")
    browser.until("unknown type 'NOSUCH'", "return document.querySelector('#sentence.wrong')?.innerText")
    browser.run("document.querySelector('#top-names .link').click()")
    browser.until(lambda name: name in NAMES, "return document.querySelector('#ask [name=name]').value")
    assert "sentence" == focused(browser)


def test_objects_by_keyboard(browser: Browser) -> None:
    browser.run("document.querySelector('#find input').focus()")
    browser.press("prod/d")
    browser.until("prod/db headless 1 of 2", "return document.querySelector('#services tbody').innerText.split(/\\s+/).join(' ')")
    assert "1 Service" == text(browser, "#found")
    browser.press("Tab", "Tab", "Enter")
    browser.until(lambda told: "5 IN A 10.244.0.1" in told, "return document.querySelector('#object-told').innerText")
    assert "object-title" == focused(browser)
    assert "10.244.0.1 (db-0): ready" in text(browser, "#object-told")
    browser.press("Tab", "Tab", "Enter")
    assert "text" == focused(browser)
    browser.press("xyz")
    browser.until("No Service has 'prod/dxyz' in its name.", "return document.querySelector('#found').innerText")


def test_the_keyboard_reaches_every_control_and_the_focus_is_seen(browser: Browser) -> None:
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0); document.querySelector('#pause').click()")  # nothing moves
    wanted = browser.run(
        "return [...document.querySelectorAll('a[href], button, input, summary, [tabindex=\"0\"]')]"
        ".filter(e => e.checkVisibility()).map((e, n) => (e.dataset.n = n, n))"
    )
    browser.run("document.body.tabIndex = -1; document.body.focus()")
    reached = []
    for _ in wanted:
        browser.press("Tab")
        n, outline = browser.run("const e = document.activeElement; return [Number(e.dataset.n), getComputedStyle(e).outlineStyle]")
        assert "none" != outline
        reached.append(n)
    browser.run("document.querySelector('#pause').click()")
    assert wanted == reached


def test_controls_and_regions_have_names(browser: Browser) -> None:
    tree = browser.tool("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in tree:
        if not node.get("ignored"):
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert {"banner", "main", "contentinfo", "search"} <= set(roles)
    for role in ("button", "textbox", "searchbox", "combobox", "region", "table", "columnheader", "link"):
        unnamed = [name for name in roles.get(role, []) if not name and role != "columnheader"]
        assert [] == unnamed, role
    expected = {"Now", "Explain", "Objects", "Most asked names", "Search lists", "Who asks most", "Upstreams", "Services"}
    assert expected <= set(roles["region"])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_wider_than_the_screen_and_all_can_be_read(width: int, scheme: str, browser: Browser) -> None:
    browser.wear(width, 800, scheme)
    assert width >= browser.run("return document.documentElement.scrollWidth")
    cut = browser.run(
        "return [...document.querySelectorAll('td, dd, h2, p, input, button')].filter(e => e.checkVisibility()"
        " && (e.getBoundingClientRect().right > innerWidth || e.getBoundingClientRect().left < 0) && !e.closest('.skip'))"
        ".map(e => e.outerHTML)"
    )
    assert [] == cut
    colours = browser.run(
        "const s = getComputedStyle(document.documentElement);"
        "return Object.fromEntries(['--card', '--ground', '--text', '--quiet', '--accent', '--bad', '--on-accent']"
        ".map(n => [n, s.getPropertyValue(n).trim()]))"
    )
    assert ("light" == scheme) == (luminance(colours["--card"]) > 0.5)
    pairs = [(front, back) for front in ("--text", "--quiet", "--accent", "--bad") for back in ("--card", "--ground")]
    pairs.append(("--on-accent", "--accent"))
    for front, back in pairs:
        light, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)  # WCAG 2.2, 1.4.3


def luminance(colour: str) -> float:
    """The relative luminance of #rgb or #rrggbb (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_server_that_is_away_is_said_to_be_and_found_again(tmp_path: Path) -> None:
    corefile = corefile_in(tmp_path)
    with Browser() as browser:
        with kdns.testing.serve(corefile=corefile):
            browser.open(url(corefile))
            browser.until("live", STATE)
        browser.until(lambda text: "has not answered since" in text, STATE)
        with kdns.testing.serve(corefile=corefile):
            browser.until("live", STATE)
            browser.run("document.querySelector('#pause').click()")
            assert ["paused", "true"] == browser.run("return [state.innerText, pause.getAttribute('aria-pressed')]")
