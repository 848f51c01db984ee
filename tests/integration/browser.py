"""A headless Chromium, driven through its DevTools protocol.

It resolves no name and talks to 127.0.0.1 only. Waiting is done inside the page, by watching it change.
"""

import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import websocket

REMEDY = (
    "install Chromium (Debian, Ubuntu as root: apt-get install chromium; Fedora: dnf install chromium) "
    "or name a Chromium or Chrome in TICKBRIDGE_TEST_CHROMIUM"
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT_S = 10.0

#: Resolves when `condition()` holds, looked at whenever the page changes; rejects after a while, saying what it saw.
UNTIL = """
(seconds, condition) => new Promise((resolve, reject) => {
  const look = () => { if (condition()) { watch.disconnect(); resolve(true); } };
  const watch = new MutationObserver(look);
  watch.observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
  setTimeout(() => reject(new Error(document.body.innerText.slice(0, 2000))), 1000 * seconds);
  look();
})
"""


def find_browser() -> str | None:
    """Find a program to start; None if there is none."""
    return os.environ.get("TICKBRIDGE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One headless Chromium with one tab."""

    def __init__(self, program: str, profile: Path) -> None:
        self._process = subprocess.Popen(
            [
                *(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                *("--disable-extensions", "--disable-default-apps", "--no-proxy-server"),
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                *("--remote-debugging-address=127.0.0.1", "--remote-debugging-port=0"),
                *(f"--user-data-dir={profile}", "--window-size=1280,900", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self._tab = websocket.create_connection(self._address(), timeout=WAIT_S, suppress_origin=True)
        except BaseException:
            self._end()
            raise
        self._session = ""
        self._number = 0
        self.complaints: list[str] = []
        (page,) = [t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, address: str) -> None:
        """Go to a bridge's page and wait until it shows symbols; `complaints` starts anew."""
        self.complaints.clear()
        self._call("Page.navigate", url=address)
        self.until(f"location.href === '{address}' && document.querySelector('#rows tr')")

    def ask(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, waiting for what it promises."""
        found = self._call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, json.dumps(found["exceptionDetails"], indent=1)
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript condition holds."""
        self.ask(f"({UNTIL})({WAIT_S - 1}, () => {condition})")

    def prefer(self, scheme: str) -> None:
        """Have a light or a dark system."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        try:
            self._call("Browser.close")
            self._tab.close()
        finally:
            self._end()

    def _address(self) -> str:
        """Read where the browser listens; it says so once it does."""
        said: list[str] = []
        found = threading.Event()

        def read() -> None:
            for line in self._process.stderr or ():
                said.append(line)
                if "DevTools listening on" in line:
                    found.set()
            found.set()

        self._reader = threading.Thread(target=read, name="browser-output", daemon=True)
        self._reader.start()
        assert found.wait(3 * WAIT_S), "the browser does not start"
        addresses = re.findall(r"DevTools listening on (ws://127\.0\.0\.1:\S+)", "".join(said))
        assert addresses, "".join(said)
        return str(addresses[0])

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        request: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            request["sessionId"] = self._session
        self._tab.send(json.dumps(request))
        while True:
            message = json.loads(self._tab.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        """Keep what a developer would see in red."""
        params = message.get("params", {})
        if message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])

    def _end(self) -> None:
        """Wait for the end of the process, or make it."""
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        if self._process.stderr:
            self._process.stderr.close()
