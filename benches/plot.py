"""Line charts as SVG, readable on light and on dark pages. Data flows in, text flows out."""

import math
from html import escape

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 26, 46, 44
# Distinct for the colour-blind, and on both grounds.
COLOURS = ["#4477aa", "#ee6677", "#228833", "#b8a013", "#3aa6c9", "#aa3377"]
STYLE = """<style>
text { font: 11px sans-serif; fill: #333 }
.title { font-size: 13px; font-weight: bold }
.grid { stroke: #8884; stroke-width: 1 }
polyline { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
</style>"""


def time(ns):
    """A duration as a tick's label has it: a power of ten."""
    for unit, scale in [("ns", 1), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]:
        if ns < 1000 * scale:
            break
    return f"{ns / scale:g} {unit}"


def chart(title, below, series, ticks=None):
    """One chart of `{name: [(x, ns)]}`, both axes logarithmic; with `ticks`, `[(x, label)]`, x is
    linear and labelled so."""
    points = [point for line in series.values() for point in line]
    xs = sorted({x for x, _ in points})
    low = math.floor(math.log10(min(y for _, y in points)))
    high = max(math.ceil(math.log10(max(y for _, y in points))), low + 1)
    scale = (lambda x: x) if ticks else math.log10
    first, last = scale(xs[0]), scale(xs[-1])
    across = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * (scale(x) - first) / ((last - first) or 1)
    up = lambda y: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(y) - low) / (high - low)
    yield f'<text class="title" x="{LEFT}" y="16">{escape(title)}</text>'
    for power in range(low, high + 1):
        y = up(10**power)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{time(10**power)}</text>'
    for x, label in ticks or [(x, f"{x:,}".replace(",", " ")) for x in xs]:
        at = f'x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 16}"'
        yield f'<text {at} text-anchor="middle">{escape(label)}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(below)}</text>'
    step = (WIDTH - LEFT - RIGHT) / len(series)
    for i, (name, line) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in sorted(line))
        yield f'<polyline points="{path}" stroke="{colour}"/>'
        for x, y in line:
            yield f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.5" fill="{colour}"/>'
        left = LEFT + i * step
        yield f'<rect x="{left:.1f}" y="26" width="9" height="9" fill="{colour}"/>'
        yield f'<text x="{left + 13:.1f}" y="35">{escape(name)}</text>'


def page(charts, columns=2):
    """The charts side by side, as one picture."""
    charts = [list(chart) for chart in charts]
    rows = -(-len(charts) // columns)
    width, height = WIDTH * min(columns, len(charts)), HEIGHT * rows
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">'
    yield STYLE
    for i, chart in enumerate(charts):
        yield f'<g transform="translate({i % columns * WIDTH} {i // columns * HEIGHT})">'
        yield from chart
        yield "</g>"
    yield "</svg>"
