"""One run as a picture: writes acknowledged and the longest gap over time. SVG by hand, always the same text.

All colours are readable on white and on black: pages show the picture in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from tests.bench.records import WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.records import Mark, Result

WIDTH, HEIGHT = 760, 354
_LEFT, _RIGHT = 62, 16
_PANEL = 112
_TOPS = (60, 202)
_TEXT, _GRID, _ACKS, _GAP, _MARK = "#7d8590", "#7d859055", "#2f81f7", "#d1662b", "#8957e5"
_TICKS = 4
_MARK_ROOM = 80
_HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
    f' font-family="sans-serif" font-size="11" fill="{_TEXT}">'
)


@dataclass(frozen=True)
class _Panel:
    """One diagram: values of windows, in `unit`, below a title."""

    title: str
    top: int
    values: Sequence[float]
    colour: str

    @property
    def limit(self) -> float:
        """Where the axis ends."""
        return nice(max(self.values, default=0.0))

    def y(self, value: float) -> float:
        """Height of a value on the page."""
        return self.top + _PANEL * (1 - value / self.limit)


def svg(result: Result, title: str) -> str:
    """The picture of a run; the same run gives the same text."""
    acknowledged = [float(window.acknowledged) for window in result.series]
    panels = (
        _Panel("writes acknowledged per 100 ms", _TOPS[0], acknowledged, _ACKS),
        _Panel("longest gap under way, ms", _TOPS[1], [window.gap_ms for window in result.series], _GAP),
    )
    seconds = max(len(result.series), 1) * WINDOW_S

    def x(at_s: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(max(at_s / seconds, 0), 1)

    lines = [
        _HEAD,
        f"<title>{escape(title)}</title>",
        _label(_LEFT, 16, title, "start", 'font-size="13" font-weight="bold"'),
    ]
    for panel in panels:
        lines += _panel(panel, x)
    lines += _seconds(seconds, x)
    lines += _marks(result.marks, x)
    return "\n".join([*lines, "</svg>"]) + "\n"


def nice(value: float) -> float:
    """The next of 1, 2, 4, 5 times a power of ten that is no less; what an axis ends at. At least 1."""
    step = 1.0
    while True:
        for factor in (1, 2, 4, 5):
            if factor * step >= value:
                return factor * step
        step *= 10


def _panel(panel: _Panel, x: Callable[[float], float]) -> list[str]:
    lines = [_label(_LEFT, panel.top - 6, panel.title, "start", f'fill="{panel.colour}"')]
    for tick in range(_TICKS + 1):
        value = panel.limit * tick / _TICKS
        y = panel.y(value)
        lines.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
        lines.append(_label(_LEFT - 6, y + 4, f"{value:g}", "end"))
    points = [f"M{x(0):.1f} {panel.y(0):.1f}"]
    for number, value in enumerate(panel.values):
        points.append(f"V{panel.y(value):.1f}H{x((number + 1) * WINDOW_S):.1f}")
    points.append(f"V{panel.y(0):.1f}Z")
    shape = "".join(points)
    lines.append(f'<path d="{shape}" fill="{panel.colour}" fill-opacity="0.35" stroke="{panel.colour}"/>')
    return lines


def _seconds(seconds: float, x: Callable[[float], float]) -> list[str]:
    """The axis of time below both panels."""
    step = nice(seconds / 10)
    bottom = _TOPS[1] + _PANEL
    ticks = [tick * step for tick in range(int(seconds / step + 1e-9) + 1)]
    lines = [_label(x(at), bottom + 15, f"{at:g}", "middle") for at in ticks]
    return [*lines, _label(WIDTH - _RIGHT, bottom + 31, "seconds since the traffic began", "end")]


def _marks(marks: Sequence[Mark], x: Callable[[float], float]) -> list[str]:
    """A line for each mark, and what it says: the first to its left, the others to their right."""
    lines = []
    for number, mark in enumerate(marks):
        at = x(mark.at_s)
        to_left = at > _MARK_ROOM if number == 0 else at > WIDTH - _MARK_ROOM
        lines.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOPS[0] - 34}" y2="{_TOPS[1] + _PANEL}"'
            f' stroke="{_MARK}" stroke-dasharray="4 3"/>'
        )
        x_of_text, anchor = (at - 4, "end") if to_left else (at + 4, "start")
        says = f"{mark.says} {mark.at_s:.1f} s"
        lines.append(_label(x_of_text, _TOPS[0] - 24, says, anchor, f'fill="{_MARK}"'))
    return lines


def _label(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    more = f" {more}" if more else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
