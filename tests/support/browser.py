"""A browser for tests: Chromium without a window, driven by W3C WebDriver over HTTP (Debian: chromium, chromium-driver).

    with Browser() as browser:
        browser.open("http://localhost:8053/")
        assert [] == browser.errors()
"""

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from kdns.testing.ports import free_port

START = 20.0  # seconds that the driver has until it answers
WITHIN = 10.0  # seconds that `until` waits
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--no-first-run", "--mute-audio",
)  # fmt: skip
KEYS = {"Tab": "\ue004", "Enter": "\ue007"}


def missing() -> str:
    """What is to be installed before a browser can be had; empty where nothing is."""
    return ", ".join(package for program, package in PROGRAMS.items() if shutil.which(program) is None)


PROGRAMS = {"chromium": "chromium", "chromedriver": "chromium-driver"}  # and the packages that have them


class Browser:
    """One window. A script is the body of a function; what it returns is plain values."""

    def __init__(self) -> None:
        port = free_port()
        self._at = f"http://127.0.0.1:{port}"
        command = ["chromedriver", f"--port={port}"]
        self._driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._session = ""

    def __enter__(self) -> Self:
        try:
            self._await_driver()
            options = {"binary": shutil.which("chromium"), "args": list(ARGUMENTS)}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self._session = f"/session/{made['sessionId']}"
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._session:
            with contextlib.suppress(OSError):
                self._ask("DELETE", self._session)
        self._driver.terminate()
        self._driver.wait(10)

    def _await_driver(self) -> None:
        end = time.monotonic() + START
        while True:
            try:
                if self._ask("GET", "/status")["ready"]:
                    return
            except OSError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        octets = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._at + path, octets, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path}: {json.load(error)['value']['message']}") from None

    def open(self, url: str) -> None:
        self._ask("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns; `arguments[0]` and so on are its arguments."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, expected: Any, script: str) -> None:
        """Wait until a script returns what is expected, or what a function takes; an AssertionError where it never does."""
        end = time.monotonic() + WITHIN
        while not (expected(found := self.run(script)) if callable(expected) else expected == (found := self.run(script))):
            assert time.monotonic() < end, f"{script}: {found!r}"
            time.sleep(0.05)

    def press(self, *keys: str) -> None:
        """Keys by their names, texts as they are."""
        typed = [character for key in keys for character in ([KEYS[key]] if key in KEYS else key)]
        actions = [{"type": way, "value": character} for character in typed for way in ("keyDown", "keyUp")]
        self._ask("POST", f"{self._session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def tool(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own DevTools protocol."""
        return self._ask("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def wear(self, width: int, height: int, scheme: str = "light", scale: float = 1) -> None:
        """A screen of that size in CSS pixels; one below 600 is a phone's, which has no pointer to hover with."""
        phone = width < 600
        self.tool("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)
        self.tool("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.tool("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path, width: int, height: int) -> None:
        """The top of the page as a PNG, as far as `height`."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        made = self.tool("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(made["data"]))

    def errors(self) -> list[str]:
        """What the console has said since it was last asked, that is no mere remark."""
        said = self._ask("POST", f"{self._session}/se/log", {"type": "browser"})
        return [line["message"] for line in said if line["level"] in ("WARNING", "SEVERE")]
