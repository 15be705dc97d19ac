"""One page of a browser: scripts, mouse and keyboard, pictures, and what it logged, threw and requested."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.devtools import DevTools
from tests.machine import Patience

LOADED_WITHIN_S = 30.0
_KEYS = {
    "Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
    "ArrowDown": 40, "Delete": 46,
}  # fmt: skip
_MODIFIERS = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}


class ScriptFailed(AssertionError):
    """An exception of a script in the page."""


class Page:
    """`console`: messages as `level: text`; `errors`: exceptions that no code caught and failed loads;
    `requests`: the URLs asked for.
    """

    def __init__(self, tools: DevTools, session: str) -> None:
        self._tools = tools
        self._session = session
        self.console: list[str] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        tools.listeners[session].append(self._on_event)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol."""
        return self._tools.send(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Loads a page. Raises AssertionError if it cannot be loaded."""
        answer = self.send("Page.navigate", url=url)
        assert "errorText" not in answer, (url, answer["errorText"])
        self.wait_for("document.readyState === 'complete'", LOADED_WITHIN_S)

    def run(self, script: str) -> Any:
        """The value of an expression, or of the promise that it is. Raises ScriptFailed."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self.send("Runtime.evaluate", **asked)
        if "exceptionDetails" in answer:
            raise ScriptFailed(_text_of(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait_for(self, condition: str, within_s: float = 10.0) -> Any:
        """The first true value of an expression, which is no element. Raises AssertionError."""
        patience = Patience(within_s)
        while not (value := self.run(condition)):
            assert not patience.is_over(), f"never: {condition}\n{self.console}\n{self.errors}"
            time.sleep(0.02)
        return value

    def listen_to(self, take: Callable[[str, dict[str, Any]], None]) -> None:
        """`take` gets each event of the protocol from now on: its method and its parameters."""
        self._tools.listeners[self._session].append(take)

    def listen(self, seconds: float = 0.1) -> None:
        """Collects what the page says meanwhile; every other call does so too."""
        self._tools.listen(seconds)

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of the first element that matches, scrolled into view."""
        found = json.dumps(selector)
        self.wait_for(f"!!document.querySelector({found})")
        box = self.run(
            f"(() => {{ const e = document.querySelector({found}); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        where = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", **where)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", **where)

    def write(self, text: str) -> None:
        """Into the element that has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str, *modifiers: str) -> None:
        """`key`: a character or a name such as Enter; `modifiers`: such as Control."""
        code = _KEYS.get(key, ord(key[0].upper()))
        held = sum(_MODIFIERS[name] for name in modifiers)
        text = "\r" if key == "Enter" else key if len(key) == 1 and not held & 7 else ""
        typed = {"text": text} if text else {}
        named = {"key": key, "windowsVirtualKeyCode": code, "modifiers": held}
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **named, **typed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **named)

    def resize(self, width: int, height: int, *, scale: float = 1.0, mobile: bool = False) -> None:
        """In CSS pixels; `scale`: device pixels for each."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
        self.send("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, **features: str) -> None:
        """Media features, `_` for `-`: color_scheme="dark", reduced_motion="reduce"."""
        wanted = [{"name": f"prefers-{name.replace('_', '-')}", "value": features[name]} for name in features]
        self.send("Emulation.setEmulatedMedia", features=wanted)

    def choose_files(self, selector: str, *files: Path) -> None:
        """For an `<input type=file>`."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def screenshot(self, file: Path) -> None:
        """Of what is in view, as PNG."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def _on_event(self, method: str, event: dict[str, Any]) -> None:
        match method:
            case "Runtime.consoleAPICalled":
                said = " ".join(
                    str(one.get("value", one.get("description", one["type"]))) for one in event["args"]
                )
                self.console.append(f"{event['type']}: {said}")
            case "Runtime.exceptionThrown":
                self.errors.append(_text_of(event["exceptionDetails"]))
            case "Log.entryAdded" if event["entry"]["level"] == "error":
                entry = event["entry"]
                self.errors.append(f"{entry['text']} ({entry.get('url', '')})")
            case "Network.requestWillBeSent":
                self.requests.append(event["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(event["url"])


def _text_of(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details["text"])
