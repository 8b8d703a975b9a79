"""Line plots as SVG text: just enough for a few curves, axes and marks, and no library."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

PANEL_WIDTH, PANEL_HEIGHT = 440, 330  # of the plotted area, px
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 44, 56  # what is around it
_LEGEND_LINE = 18
_MARK_SPACE = 20  # between two marks whose labels are both on the left

# Okabe and Ito's palette: told apart by readers who are colour blind.
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#666666"

_HALO = 'stroke="white" stroke-width="4" paint-order="stroke"'  # keeps text readable across lines

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic scale."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass
class Panel:
    """One plot: lines and vertical marks over two axes."""

    title: str
    x: Axis
    y: Axis
    _drawn: list[str] = field(default_factory=list)
    _marks: list[tuple[float, str, str]] = field(default_factory=list)  # (x in px, colour, label)
    _legend: list[tuple[str, str, str]] = field(default_factory=list)  # (colour, dashes, label)

    def line(self, points: Points, colour: str, label: str, *, dashes: str = "", dots: bool = False) -> None:
        path = " ".join(f"{self._at_x(x):.1f},{self._at_y(y):.1f}" for x, y in points)
        self._drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        )
        if dots:
            self._drawn += [_dot(self._at_x(x), self._at_y(y), colour, 2.5) for x, y in points]
        self._legend.append((colour, dashes, label))

    def dot(self, x: float, y: float, colour: str) -> None:
        """A mark on a line."""
        self._drawn.append(_dot(self._at_x(x), self._at_y(y), colour, 5.5))

    def mark(self, x: float, colour: str, label: str) -> None:
        """A vertical line with its label written along it."""
        self._marks.append((self._at_x(x), colour, label))

    def _mark_lines(self) -> list[str]:
        lines = []
        last = -math.inf
        for x, colour, label in sorted(self._marks):
            lines.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{PANEL_HEIGHT}" stroke="{colour}"/>')
            beside = x - 5 if x - last > _MARK_SPACE else x + 13  # to the left, if there is room
            turned = f"translate({beside:.1f},{PANEL_HEIGHT * 0.62:.1f}) rotate(-90)"
            lines.append(f'<text transform="{turned}" fill="{colour}" {_HALO}>{html.escape(label)}</text>')
            last = x
        return lines

    def height(self) -> int:
        return _TOP + PANEL_HEIGHT + _BOTTOM + _LEGEND_LINE * len(self._legend)

    def svg(self, left: int) -> str:
        return "\n".join(
            [
                f'<g transform="translate({left + _LEFT},{_TOP})">',
                f'<text x="0" y="-16" font-weight="bold">{html.escape(self.title)}</text>',
                *self._axes(),
                *self._drawn,
                *self._mark_lines(),
                *self._legend_lines(),
                "</g>",
            ]
        )

    def _axes(self) -> list[str]:
        lines = [f'<rect width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="#999"/>']
        for value, text in self.x.ticks:
            x = self._at_x(value)
            lines.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{PANEL_HEIGHT}" stroke="#e4e4e4"/>')
            lines.append(f'<text x="{x:.1f}" y="{PANEL_HEIGHT + 17}" text-anchor="middle">{html.escape(text)}</text>')
        for value, text in self.y.ticks:
            y = self._at_y(value)
            lines.append(f'<line x1="0" y1="{y:.1f}" x2="{PANEL_WIDTH}" y2="{y:.1f}" stroke="#e4e4e4"/>')
            lines.append(f'<text x="-8" y="{y + 4:.1f}" text-anchor="end">{html.escape(text)}</text>')
        below = f"translate({PANEL_WIDTH / 2},{PANEL_HEIGHT + 38})"
        beside = f"translate(-46,{PANEL_HEIGHT / 2}) rotate(-90)"
        for place, axis in ((below, self.x), (beside, self.y)):
            lines.append(f'<text transform="{place}" text-anchor="middle">{html.escape(axis.label)}</text>')
        return lines

    def _legend_lines(self) -> list[str]:
        lines = []
        for number, (colour, dashes, label) in enumerate(self._legend):
            y = PANEL_HEIGHT + _BOTTOM + _LEGEND_LINE * number
            lines.append(
                f'<line x1="0" y1="{y - 4}" x2="30" y2="{y - 4}" stroke="{colour}" stroke-width="2" '
                f'stroke-dasharray="{dashes}"/>'
            )
            lines.append(f'<text x="38" y="{y}">{html.escape(label)}</text>')
        return lines

    def _at_x(self, value: float) -> float:
        return self.x.place(value) * PANEL_WIDTH

    def _at_y(self, value: float) -> float:
        return (1 - self.y.place(value)) * PANEL_HEIGHT


def _dot(x: float, y: float, colour: str, radius: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def figure(panels: Sequence[Panel]) -> str:
    """Panels side by side as one SVG document."""
    each = _LEFT + PANEL_WIDTH + _RIGHT
    width, height = each * len(panels), max(panel.height() for panel in panels)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
            '<rect width="100%" height="100%" fill="white"/>',
            *(panel.svg(number * each) for number, panel in enumerate(panels)),
            "</svg>\n",
        ]
    )
