"""An SVG of one measured answer: the speech that a client has received and played, over the time.

`python -m tests.bench.draw_stream http://127.0.0.1:8000 > deploy/stream.svg`, on an idle machine.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

QUESTION = "Count from one to twenty."
BYTES_PER_S = 48_000
WIDTH, HEIGHT = 760, 330
LEFT, RIGHT, TOP, BOTTOM = 60, 730, 62, 282
STYLE = """
text { font: 13px sans-serif; fill: #1f2328 } .title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d1d9e0 } .received { fill: none; stroke: #1a7f37; stroke-width: 2.5 }
.played { fill: none; stroke: #0969da; stroke-width: 2.5; stroke-dasharray: 7 5 }
.is-received { fill: #1a7f37 } .is-played { fill: #0969da } .page { fill: #ffffff; stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .grid { stroke: #3d444d } .page { fill: #0d1117; stroke: #3d444d }
  .received { stroke: #3fb950 } .is-received { fill: #3fb950 }
  .played { stroke: #4493f8 } .is-played { fill: #4493f8 }
}
"""


@dataclass(frozen=True)
class Packet:
    """`at_s`: since the request was sent; `speech_s`: of speech received by then."""

    at_s: float
    speech_s: float


def listen(url: str) -> list[Packet]:
    """The packets of one streamed spoken answer."""
    model = httpx.get(f"{url}/v1/models").json()["data"][0]["id"]
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "pcm16"},
        "max_tokens": 64,
        "stream": True,
    }
    packets: list[Packet] = []
    received = 0
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=120) as answer:
        answer.raise_for_status()
        began = time.perf_counter()
        for line in answer.iter_lines():
            if line.startswith("data: {") and (data := speech_of(json.loads(line[6:]))):
                received += len(data)
                packets.append(Packet(time.perf_counter() - began, received / BYTES_PER_S))
    return packets


def speech_of(chunk: dict[str, list[dict[str, dict[str, dict[str, str]]]]]) -> bytes:
    audio = chunk["choices"][0]["delta"].get("audio") if chunk["choices"] else None
    return base64.b64decode((audio or {}).get("data") or "")


def played(packets: Iterable[Packet]) -> list[Packet]:
    """The corners of what a client has played, which starts with the first packet and waits for late ones."""
    corners: list[Packet] = []
    at_s = position_s = received_s = 0.0
    for packet in packets:
        if not corners:
            at_s = packet.at_s
            corners.append(Packet(at_s, 0.0))
        elif packet.at_s - at_s > received_s - position_s:
            corners += [Packet(at_s + received_s - position_s, received_s), Packet(packet.at_s, received_s)]
            at_s, position_s = packet.at_s, received_s
        received_s = packet.speech_s
    return [*corners, Packet(at_s + received_s - position_s, received_s)]


def as_svg(packets: list[Packet]) -> str:
    heard = played(packets)
    first, last, end = packets[0], packets[-1], heard[-1]
    most = end.at_s * 1.02

    def x(at_s: float) -> float:
        return LEFT + (RIGHT - LEFT) * at_s / most

    def y(speech_s: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * speech_s / most

    def line(kind: str, points: Iterable[Packet]) -> str:
        corners = " ".join(f"{x(point.at_s):.1f},{y(point.speech_s):.1f}" for point in points)
        return f'<polyline class="{kind}" points="{corners}"/>'

    steps = [Packet(first.at_s, 0.0)]
    for packet in packets:
        steps += [Packet(packet.at_s, steps[-1].speech_s), packet]
    title = f"One spoken answer: first audio after {first.at_s * 1e3:.0f} ms, "
    title += f"all {last.speech_s:.1f} s after {last.at_s:.1f} s"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f"<title>{title}</title><style>{STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="6"/>',
            f'<text class="title" x="{LEFT}" y="28">{title}</text>',
            f'<text x="{LEFT}" y="50">seconds of speech</text>',
            f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
            "seconds since the request</text>",
            *(
                f'<path class="grid" d="M{LEFT} {y(at):.1f}H{RIGHT}"/>'
                f'<text x="{LEFT - 8}" y="{y(at) + 4:.1f}" text-anchor="end">{at}</text>'
                f'<text x="{x(at):.1f}" y="{BOTTOM + 18}" text-anchor="middle">{at}</text>'
                for at in range(0, int(most) + 1, 2)
            ),
            line("received", [*steps, Packet(end.at_s, last.speech_s)]),
            line("played", heard),
            f'<text class="is-received" x="{x(last.at_s * 0.55) - 8:.0f}" y="{y(last.speech_s * 0.62):.0f}" '
            'text-anchor="end">received</text>',
            f'<text class="is-played" x="{x(end.at_s * 0.6) + 12:.0f}" y="{y(end.speech_s * 0.55):.0f}">'
            "played</text>",
            "</svg>",
            "",
        )
    )


if __name__ == "__main__":
    listen(sys.argv[1])
    sys.stdout.write(as_svg(listen(sys.argv[1])))
