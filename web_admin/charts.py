"""Charts as SVG made on the server: one idea each, labels at the bars themselves. Pure.

Widths are percentages and heights pixels, without a view box: bars stretch with the page and letters do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

HEIGHT = 184
TOP = 28
BASE = 152
"""Where zero is, from the top."""
AXIS = 174
LABEL_EVERY = 6
BAR_SHARE = 0.66


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what stands under it, and its value."""

    label: str
    value: int


def bars(title: str, values: Sequence[Bar], *, every: int = LABEL_EVERY, newest: str = "now") -> Markup:
    """A bar chart whose newest bar is the one still growing; the highest bar carries its value.

    One bar in `every` has a label under it; that of the last says `newest`.
    """
    highest = max((bar.value for bar in values), default=0)
    step = 100 / max(1, len(values))
    parts = [Markup('<line class="axis" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(BASE)]
    for index, bar in enumerate(values):
        middle = step * (index + 0.5)
        last = index == len(values) - 1
        if bar.value:
            height = max(2.0, (BASE - TOP) * bar.value / highest)
            parts.append(
                Markup(
                    '<rect class="bar{0}" x="{1:.2f}%" width="{2:.2f}%" y="{3:.1f}" height="{4:.1f}" rx="2"/>'
                ).format(
                    " growing" if last else "",
                    middle - step * BAR_SHARE / 2,
                    step * BAR_SHARE,
                    BASE - height,
                    height,
                )
            )
        if bar.value and bar.value == highest and not any(earlier.value == highest for earlier in values[:index]):
            parts.append(_text("value", middle, BASE - (BASE - TOP) - 8, f"{bar.value:,}", len(values), index))
        if (len(values) - 1 - index) % every == 0:
            parts.append(_text("tick", middle, AXIS, newest if last else bar.label, len(values), index))
    return Markup('<svg class="chart" role="img" aria-label="{0}" width="100%" height="{1}">{2}</svg>').format(
        title, HEIGHT, Markup("").join(parts)
    )


def _text(name: str, middle: float, y: int, words: str, count: int, index: int) -> Markup:
    """A label under or over its bar; at the edges it leans inwards so that nothing is cut off."""
    anchor, x = ("start", 0.0) if index == 0 else ("end", 100.0) if index == count - 1 else ("middle", middle)
    return Markup('<text class="{0}" x="{1:.2f}%" y="{2}" text-anchor="{3}">{4}</text>').format(
        name, x, y, anchor, escape(words)
    )
