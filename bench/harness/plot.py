# SPDX-License-Identifier: Apache-2.0
"""The results as one SVG: shares of the ceiling with their spreads, growth, and the peer."""

import math
from xml.sax.saxutils import escape

WIDTH = 960
LEFT = 330  # where the scale begins
RIGHT = 170  # room for figures
ROW = 24
INK = "#1f2328"
FAINT = "#d0d7de"
BLUE = "#0969da"
GREEN = "#1a7f37"
RED = "#cf222e"

# scenario, metric, heading, goal
SHARES = (
    ("get", "server_cpu_us", "Get: share of the TLS echo, by server CPU", 0.85),
    ("durable", "server_cpu_us",
     "Get: share of a TLS echo that syncs a record of each request, by server CPU", None),
    ("bare handshakes", "server_cpu_us",
     "Connect, close: share of the TLS echo, by server CPU", 0.95),
    ("handshakes", "server_cpu_us",
     "Connect, Discover Versions, Get, close: share of the TLS echo, by server CPU", 0.95),
    ("create", "rate", "Create: share of the bare grouped commit, by rate", 0.60),
    ("before", "server_cpu_us", "Get: share of an earlier kmipd, by server CPU", 0.97),
    ("creates", "rate", "Create by key manager: share of the sealed file, by rate", None),
)


class Drawing:
    """SVG elements, from top to bottom."""

    def __init__(self):
        self.elements = []
        self.y = 16

    def line(self, x1, y1, x2, y2, colour=FAINT, width=1.0, dashes=None):
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.elements.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                             f'stroke="{colour}" stroke-width="{width}"{dash}/>')

    def text(self, x, y, words, anchor="start", size=13, colour=INK, weight="normal"):
        self.elements.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                             f'font-size="{size}" fill="{colour}" font-weight="{weight}">'
                             f'{escape(words)}</text>')

    def dot(self, x, y, colour=BLUE, radius=5):
        self.elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def bar(self, x, y, width, height, colour):
        self.elements.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" '
                             f'height="{height:.1f}" fill="{colour}"/>')

    def heading(self, words):
        self.y += 22
        self.text(16, self.y, words, size=15, weight="bold")
        self.y += 16

    def svg(self, title):
        height = self.y + 24
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
                f'width="{WIDTH}" height="{height:.0f}" role="img" '
                f'font-family="system-ui, sans-serif"><title>{escape(title)}</title>\n'
                f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
                + "\n".join(self.elements) + "\n</svg>\n")


def _place(fraction):
    return LEFT + fraction * (WIDTH - LEFT - RIGHT)


def _share_axis(drawing, rows, goal, top):
    """Scale marks behind `rows` rows; `top` is the largest share shown."""
    bottom = drawing.y + rows * ROW
    for percent in range(0, int(top * 100) + 1, 20):
        x = _place(percent / 100 / top)
        drawing.line(x, drawing.y, x, bottom)
        drawing.text(x, bottom + 15, f"{percent} %", "middle", 11)
    if goal is None:
        return
    x = _place(goal / top)
    drawing.line(x, drawing.y - 4, x, bottom, GREEN, 2, "5 3")
    drawing.text(x, drawing.y - 7, f"goal {goal:.0%}", "middle", 11, GREEN)


def _share_row(drawing, title, share, goal, top):
    y = drawing.y + ROW / 2
    colour = BLUE if goal is None or share.median >= goal else RED
    drawing.text(LEFT - 12, y + 4, title, "end")
    drawing.line(_place(min(share.low, top) / top), y, _place(min(share.high, top) / top), y,
                 colour, 1.5)
    drawing.bar(_place(min(share.q1, top) / top), y - 4,
                (min(share.q3, top) - min(share.q1, top)) / top * (WIDTH - LEFT - RIGHT), 8, colour)
    drawing.dot(_place(min(share.median, top) / top), y, colour)
    drawing.text(WIDTH - RIGHT + 14, y + 4,
                 f"{share.median:.0%}  [{share.q1:.0%}–{share.q3:.0%}]", size=12, colour=colour)
    drawing.y += ROW


def _shares(drawing, measurements):
    for scenario, metric, heading, goal in SHARES:
        rows = [row for row in measurements
                if row.scenario == scenario and metric in row.shares]
        if not rows:
            continue
        drawing.heading(heading)
        drawing.y += 16
        top = max(1.2, math.ceil(max(row.shares[metric].q3 for row in rows) * 5) / 5)
        _share_axis(drawing, len(rows), goal, top)
        for row in rows:
            bound = None if row.title.endswith("resumed") else goal
            _share_row(drawing, row.title, row.shares[metric], bound, top)
        drawing.y += 26


def _bars(drawing, entries, unit):
    """Bars on a logarithmic scale, for rates that are orders of magnitude apart."""
    least = 10 ** math.floor(math.log10(min(value for _, value in entries)))
    most = 10 ** math.ceil(math.log10(max(value for _, value in entries)))
    span = max(math.log10(most / least), 1)
    for title, value in entries:
        y = drawing.y + ROW / 2
        drawing.text(LEFT - 12, y + 4, title, "end")
        drawing.bar(_place(0), y - 7, math.log10(value / least) / span * (WIDTH - LEFT - RIGHT), 14,
                    BLUE)
        drawing.text(WIDTH - RIGHT + 14, y + 4, f"{value:,.0f} {unit}", size=12)
        drawing.y += ROW
    for power in range(int(math.log10(most / least)) + 1):
        x = _place(power / span)
        drawing.line(x, drawing.y, x, drawing.y + 4, INK)
        drawing.text(x, drawing.y + 16, f"{least * 10 ** power:,.0f}", "middle", 11)
    drawing.y += 26


def _growth(drawing, measurements):
    rows = [row for row in measurements if row.scenario == "growth"]
    if not rows:
        return
    drawing.heading("Latency (median) of one connection as the store grows")
    most = max(row.values["p50_us"][row.subject].q3 for row in rows) * 1.1
    for row in rows:
        value = row.values["p50_us"][row.subject]
        y = drawing.y + ROW / 2
        drawing.text(LEFT - 12, y + 4, row.title, "end")
        drawing.bar(_place(0), y - 6, value.median / most * (WIDTH - LEFT - RIGHT), 12,
                    BLUE if row.notes["operation"] == "Get" else GREEN)
        drawing.line(_place(value.q1 / most), y, _place(value.q3 / most), y, INK, 1.5)
        drawing.text(WIDTH - RIGHT + 14, y + 4, f"{value.median:,.0f} µs", size=12)
        drawing.y += ROW
    drawing.y += 10


def _peer(drawing, measurements):
    rows = [row for row in measurements if row.scenario == "peer"]
    if not rows:
        return
    drawing.heading("Requests a second, kmipd and PyKMIP (logarithmic scale)")
    drawing.y += 4
    _bars(drawing, [(f"{name}: {row.title}", row.values["rate"][name].median)
                    for row in rows for name in row.values["rate"]], "/s")


def svg(measurements, facts):
    drawing = Drawing()
    drawing.y += 12
    drawing.text(16, drawing.y, "kmipd: performance", size=19, weight="bold")
    drawing.y += 20
    drawing.text(16, drawing.y, f"{facts['cpu']}, {facts['cores']} cores, {facts['openssl']}; "
                 f"dot: median, bar: middle half of the rounds, line: all of them", size=12)
    drawing.y += 12
    _shares(drawing, measurements)
    _growth(drawing, measurements)
    _peer(drawing, measurements)
    return drawing.svg("kmipd: performance")
