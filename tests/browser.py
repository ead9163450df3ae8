"""A headless Chromium, driven through chromedriver by the WebDriver protocol (W3C, 2018)."""

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers import free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name that the protocol gives references


class Browser:
    """A browser whose page is 1600 x 1000; to be used in a ``with`` statement.

    Args:
        folder: for its profile and what it says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()

    def __enter__(self) -> "Browser":
        assert CHROMIUM, "no chromium"
        assert DRIVER, "no chromedriver"
        with (self.folder / "chromedriver.log").open("wb") as said:
            self._driver = subprocess.Popen(
                [DRIVER, f"--port={self.port}"], stdout=said, stderr=said, start_new_session=True,
                env=os.environ | {"HOME": str(self.folder)},
            )  # fmt: skip
        switches = [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
            "--window-size=1600,1143", "--hide-scrollbars", "--force-device-scale-factor=1",
            f"--user-data-dir={self.folder / 'profile'}", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        ]  # fmt: skip
        options = {"binary": CHROMIUM, "args": switches}
        asked = {"browserName": "chrome", "goog:chromeOptions": options}
        self._session = ""
        self.wait(lambda: self._ask("GET", "/status")["ready"], 60)
        self._session = (
            "/session/"
            + self._ask("POST", "/session", {"capabilities": {"alwaysMatch": asked}})["sessionId"]
        )
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            if self._session:
                self._ask("DELETE", "")
        finally:
            os.killpg(self._driver.pid, signal.SIGKILL)
            self._driver.wait()

    def open(self, address: str) -> None:
        """Go to a page."""
        self._ask("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """Value that a JavaScript function body returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self) -> str:
        """What the page says."""
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def see(self, *words: str, seconds: float = 60) -> None:
        """Wait until the page says all these words."""
        try:
            self.wait(lambda: all(one in self.text() for one in words), seconds)
        except AssertionError:
            raise AssertionError(f"no {words} in the page:\n{self.text()[:3000]}") from None

    def find(self, xpath: str, seconds: float = 30) -> dict[str, str]:
        """The first element of that path that is there; waits for it."""
        found: list[dict[str, str]] = []

        def there() -> bool:
            found[:] = self._ask("POST", "/elements", {"using": "xpath", "value": xpath})
            return bool(found)

        self.wait(there, seconds, f"{xpath} in the page:\n{self.text()[:3000]}")
        return found[0]

    def click(self, xpath: str, seconds: float = 30) -> None:
        """Click the first element of that path."""

        def clicked() -> bool:
            try:
                element = self.find(xpath, seconds)
                self._ask("POST", f"/element/{element[_ELEMENT]}/click", {})
            except OSError:  # it was replaced meanwhile, or something still covers it
                return False
            return True

        self.wait(clicked, seconds, xpath)

    def write(self, selector: str, words: str) -> None:
        """Put words into the input field of that CSS selector."""
        script = (
            "const field = document.querySelector(arguments[0]);"
            "const kind = Object.getPrototypeOf(field);"  # React listens behind its own setter
            "Object.getOwnPropertyDescriptor(kind, 'value').set.call(field, arguments[1]);"
            "field.dispatchEvent(new Event('input', {bubbles: true}));"
        )
        self.run(script, selector, words)

    def screenshot(self, file: Path) -> Path:
        """Save what the window shows as PNG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))
        return file

    def wait(self, true: Any, seconds: float, what: str = "it") -> None:
        """Wait until a function says something true."""
        end = time.monotonic() + seconds
        while True:
            try:
                if true():
                    return
            except urllib.error.URLError:
                pass
            assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
            time.sleep(0.25)

    def _ask(self, method: str, path: str, content: Any = None) -> Any:
        place = "" if path.startswith(("/status", "/session")) else self._session
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{place}{path}", body,
            {"Content-Type": "application/json"}, method=method,
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.loads(answer.read())["value"]
