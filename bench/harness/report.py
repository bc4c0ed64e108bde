# SPDX-License-Identifier: Apache-2.0
"""Results as a table for a terminal and as JSON."""

import json

TITLES = {
    "get": "Get over kept connections, against the echo",
    "durable": "The same, against an echo that syncs a record of each request before it answers",
    "bare handshakes": "Connect and close, against the echo",
    "handshakes": "Connect, Discover Versions, Get, close, against the echo",
    "durable handshakes": "The same, against an echo that syncs a record of each request",
    "network": "The network layer alone, against the echo",
    "create": "Durable Create, against the bare grouped commit",
    "idle": "Memory of an idle connection",
    "growth": "Latency of one connection as the store grows",
    "peer": "The peer: PyKMIP's server",
    "before": "Get over kept connections, against an earlier kmipd",
    "cold": "Get of keys that are not held ready, against Get of one that is (warm)",
    "creates": "Durable Create by key manager, against the sealed file",
    "warming": "All keys fetched after a restart, and what clients wait meanwhile",
    "rewrap": "Rewrapping on a running server after a rotation",
}

# Columns: heading, metric, and what of it is shown.
LOAD_COLUMNS = (
    ("{subject}/s", "rate", "subject"),
    ("{ceiling}/s", "rate", "ceiling"),
    ("share", "rate", "part"),
    ("CPU µs", "server_cpu_us", "subject"),
    ("{ceiling}", "server_cpu_us", "ceiling"),
    ("share [IQR] min-max", "server_cpu_us", "share"),
    ("p50 µs", "p50_us", "subject"),
    ("p99 µs", "p99_us", "subject"),
    ("cores", "server_load", "loads"),
)
CREATE_COLUMNS = (
    ("{subject}/s", "rate", "subject"),
    ("{ceiling}/s", "rate", "ceiling"),
    ("share [IQR] min-max", "rate", "share"),
    ("CPU µs", "server_cpu_us", "subject"),
    ("{ceiling}", "server_cpu_us", "ceiling"),
    ("p50 µs", "p50_us", "subject"),
    ("{ceiling}", "p50_us", "ceiling"),
    ("p99 µs", "p99_us", "subject"),
    ("cores", "server_load", "loads"),
)
GROWTH_COLUMNS = (
    ("p50 µs", "p50_us", "subject"),
    ("p99 µs", "p99_us", "subject"),
    ("CPU µs", "server_cpu_us", "subject"),
    ("times the p50 of the smallest [IQR]", "p50_us", "times"),
)
IDLE_COLUMNS = (
    ("KiB", "kib", "subject"),
    ("{ceiling} KiB", "kib", "ceiling"),
)
COLD_COLUMNS = (
    ("/s", "rate", "subject"),
    ("share", "rate", "part"),
    ("of all at once", "in_flight", "part"),
    ("CPU µs", "server_cpu_us", "subject"),
    ("p50 µs", "p50_us", "subject"),
    ("over {ceiling}", "over_us", "subject"),
    ("p99 µs", "p99_us", "subject"),
    ("cores", "server_load", "loads"),
)
CREATES_COLUMNS = (
    ("/s", "rate", "subject"),
    ("share [IQR] min-max", "rate", "share"),
    ("CPU µs", "server_cpu_us", "subject"),
    ("p50 µs", "p50_us", "subject"),
    ("p99 µs", "p99_us", "subject"),
    ("cores", "server_load", "loads"),
)
WARMING_COLUMNS = (
    ("s", "seconds", "subject"),
    ("keys/s", "rate", "subject"),
    ("p50 µs", "p50_us", "subject"),
    ("p99 µs", "p99_us", "subject"),
    ("{ceiling}", "p99_us", "ceiling"),
    ("most µs", "max_us", "subject"),
    ("{ceiling}", "max_us", "ceiling"),
)
REWRAP_COLUMNS = (
    ("/s", "rate", "subject"),
    ("CPU µs", "server_cpu_us", "subject"),
    ("Create p50 µs", "create_p50_us", "subject"),
    ("p99 µs", "create_p99_us", "subject"),
)
COLUMNS = {"create": CREATE_COLUMNS, "growth": GROWTH_COLUMNS, "idle": IDLE_COLUMNS,
           "cold": COLD_COLUMNS, "creates": CREATES_COLUMNS, "warming": WARMING_COLUMNS,
           "rewrap": REWRAP_COLUMNS}


def _number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _share(summary):
    if summary.median >= 3:
        return f"{summary.median:,.0f} times"
    low, high = summary.low * 100, summary.high * 100
    return (f"{summary.median:.0%} [{summary.q1 * 100:.0f}-{summary.q3 * 100:.0f}] "
            f"{low:.0f}-{high:.0f}")


def _part(summary):
    return _share(summary) if summary.median >= 3 else f"{summary.median:.0%}"


def _cell(row, metric, what):
    values = row.values.get(metric, {})
    if what in ("share", "part"):
        show = _share if what == "share" else _part
        return show(row.shares[metric]) if metric in row.shares else ""
    if what == "times":
        share = row.shares.get(metric)
        return f"{1 / share.median:.2f} [{1 / share.q3:.2f}-{1 / share.q1:.2f}]" if share else ""
    if what == "loads":
        return (f"{values[row.subject].median:.0%}/"
                f"{row.values['client_load'][row.subject].median:.0%}")
    name = row.subject if what == "subject" else row.ceiling
    return _number(values[name].median) if name in values else ""


def _layout(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                  for i, (cell, width) in enumerate(zip(line, widths))).rstrip()
        for line in lines)


def tables(rows):
    """One table for each kind of rows."""
    kinds = dict.fromkeys(row.scenario for row in rows)
    return "\n\n".join(table(kind, [row for row in rows if row.scenario == kind])
                       for kind in kinds)


def table(scenario, rows):
    columns = COLUMNS.get(scenario, LOAD_COLUMNS)
    has_ceiling = any(row.ceiling for row in rows)
    columns = [column for column in columns
               if has_ceiling or column[2] not in ("ceiling", "share", "part", "times")]
    names = {"subject": rows[0].subject, "ceiling": rows[0].ceiling}
    lines = [[""] + [heading.format(**names) for heading, _, _ in columns]]
    for row in rows:
        lines.append(["  " + row.title] + [_cell(row, metric, what) for _, metric, what in columns])
    return "\n".join([TITLES[scenario], _layout(lines), *_differences(rows)])


def _differences(rows):
    """Warnings where subject and echo did not speak alike."""
    warnings = []
    for row in rows:
        wire = row.notes.get("wire", {})
        if row.ceiling == "echo" and wire.get(row.subject) != wire.get("echo"):
            warnings.append(f"  UNLIKE: {row.title}: {wire[row.subject]} and {wire['echo']}")
    return warnings


def goals_table(goals):
    verdict = {True: "met", False: "MISSED", None: "open"}
    lines = [["Goal", "", "Measured"]]
    lines += [["  " + goal.text, verdict[goal.met], goal.measured] for goal in goals]
    widths = [max(len(line[i]) for line in lines) for i in range(2)]
    return "\n".join(f"{a.ljust(widths[0])}  {b.ljust(widths[1])}  {c}".rstrip()
                     for a, b, c in lines)


def as_json(facts, measurements, goals):
    return json.dumps({
        "machine": facts,
        "goals": [goal.as_json() for goal in goals],
        "measurements": [row.as_json() for row in measurements],
    }, indent=1, ensure_ascii=False) + "\n"
