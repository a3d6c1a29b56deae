"""Drives a headless Chromium as a person would: opens a page, clicks, presses keys, looks, waits for downloads.

Speaks the DevTools protocol over a pipe, so that nothing but Chromium is needed.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
NO_BROWSER = "no Chromium is installed: apt-get install chromium"

_PATIENCE_S = 60.0


class Chromium:
    """One window of a headless Chromium; a context manager.

    Args:
        size: of the window, in pixels.
        words: more of the command line.
    """

    def __init__(self, *, size: tuple[int, int] = (1400, 900), words: tuple[str, ...] = ()) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        command = [
            BROWSER, "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--enable-unsafe-swiftshader",
            f"--user-data-dir={self._home.name}", f"--window-size={size[0]},{size[1]}", "--hide-scrollbars", *words,
        ]  # fmt: skip

        def take_pipes() -> None:
            first, second = os.dup(to_browser), os.dup(from_browser)  # the pipes may be 3 and 4 themselves
            os.dup2(first, 3)
            os.dup2(second, 4)

        self.process = subprocess.Popen(
            command, preexec_fn=take_pipes, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._sent, self._session = b"", 0, ""
        self.errors: list[str] = []
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        try:
            self.call("Browser.close")
            self.process.wait(20)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self._out)
        os.close(self._in)
        self._home.cleanup()

    def call(self, method: str, **parameters: Any) -> Any:
        """Return the answer to a command of the protocol; what the page complains of meanwhile is kept in `errors`."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._sent:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._keep_error(answer)

    def _receive(self) -> Any:
        while b"\0" not in self._rest:
            data = os.read(self._in, 1 << 20)
            if not data:
                raise BrokenPipeError("Chromium has gone")
            self._rest += data
        line, self._rest = self._rest.split(b"\0", 1)
        return json.loads(line)

    def _keep_error(self, event: Any) -> None:
        if event.get("method") == "Runtime.exceptionThrown":
            details = event["params"]["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.errors.append(event["params"]["entry"]["text"])

    def open(
        self, path: Path, *, until: str = "document.documentElement && document.readyState === 'complete'"
    ) -> float:
        """Open a file and return after how many seconds an expression was true."""
        start = time.perf_counter()
        self.call("Page.navigate", url=path.as_uri())
        self.wait(until)
        return time.perf_counter() - start

    def run(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "failed"))
        return answer["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            if value := self.run(expression):
                return value
            time.sleep(0.02)
        raise TimeoutError(f"never true: {expression}; errors: {self.errors}")

    def find(self, selector: str) -> tuple[float, float]:
        """Return the middle of the first element of a selector, scrolled into view."""
        script = (
            "(() => { const e = document.querySelector(%s); e.scrollIntoView({block: 'nearest'});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        x, y = self.run(script % json.dumps(selector))
        return x, y

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        self.click_at(*self.find(selector))

    def click_at(self, x: float, y: float) -> None:
        """Click a place of the window."""
        self.drag((x, y), (x, y))

    def drag(self, *places: tuple[float, float]) -> None:
        """Press the left button at the first place, move over the others, and let go at the last."""
        mouse = {"button": "left", "clickCount": 1}
        (x, y), *rest = places
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, buttons=1, **mouse)
        for x, y in rest:
            if (x, y) != places[0]:
                self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, buttons=1, button="left")
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **mouse)

    def scroll(self, x: float, y: float, *, by: int) -> None:
        """Turn the wheel at a place."""
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=by)

    def press(self, key: str) -> None:
        """Press and release a key, as "m" or "ArrowUp"."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def take_screenshot(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def keep_downloads(self, folder: Path) -> None:
        """Let downloads go to a folder."""
        session, self._session = self._session, ""
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self._session = session

    def measure_memory_mb(self) -> float:
        """Return the memory of all its processes, what they share counted once."""
        return sum(_pss_mb(pid) for pid in _descend(self.process.pid))


def _descend(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found = [pid]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
