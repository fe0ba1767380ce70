"""The pieces of the report's page: tables, lines of figures, and bars drawn as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any as Json

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#0b0c0c;background:#fff;margin:0}
main{max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.8rem}h2{font-size:1.3rem;border-top:2px solid #b1b4b6;padding-top:.8rem;margin-top:2rem}
h3{font-size:1rem;margin-bottom:.2rem}
table{border-collapse:collapse;margin:.5rem 0;max-width:100%}
th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #d0d3d6;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{max-width:100%;height:auto}.linked{fill:#1d70b8}.review{fill:#f47738}
svg text{font:12px system-ui,sans-serif;fill:#0b0c0c}
"""

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 240, 60, 40  # of the chart, in its own units


def shown(value: Json) -> str:
    """A figure as people read it."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 10 or value == round(value, 2) else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value) or "none"
    return str(value)


def _number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def rows_table(heads: Sequence[str], rows: Iterable[Sequence[Json]]) -> str:
    """A table with a heading for each column; numbers stand to the right."""
    body = list(rows)
    right = [bool(body) and any(_number(row[place]) for row in body) for place in range(len(heads))]
    mark = [' class="n"' if one else "" for one in right]
    head = "".join(f'<th scope="col"{m}>{escape(name)}</th>' for name, m in zip(heads, mark, strict=True))
    lines = "".join(
        "<tr>"
        + "".join(f"<td{m}>{escape(shown(cell))}</td>" for cell, m in zip(row, mark, strict=True))
        + "</tr>"
        for row in body
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def facts(lines: Iterable[tuple[str, Json]]) -> str:
    """Figures with their names, one a line."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="n">{escape(shown(value))}</td></tr>'
        for name, value in lines
    )
    return f"<table><tbody>{body}</tbody></table>"


def bars(bands: Sequence[Mapping[str, Json]], threshold: float | None) -> str:
    """Pairs by match weight as stacked bars, with a table of the same numbers."""
    if not bands:
        return "<p>There are no pairs to show.</p>"
    top = max(band["linked"] + band["review"] for band in bands)
    wide, high = (_WIDTH - _LEFT) / len(bands), _HEIGHT - _BOTTOM - 10
    base = _HEIGHT - _BOTTOM
    low = bands[0]["from"]
    drawn = []
    for place, band in enumerate(bands):
        x, y = _LEFT + place * wide, float(base)
        for what in ("linked", "review"):
            tall = high * band[what] / top
            y -= tall
            if tall:
                size = f'width="{max(wide - 2, 1):.1f}" height="{tall:.1f}"'
                drawn.append(f'<rect class="{what}" x="{x + 1:.1f}" y="{y:.1f}" {size}/>')
        if place % max(1, len(bands) // 12) == 0:
            drawn.append(f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle">{band["from"]}</text>')
    if threshold is not None and low <= threshold <= bands[-1]["to"]:
        x = _LEFT + (threshold - low) / 2 * wide
        drawn.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{base}" stroke="#0b0c0c" stroke-dasharray="4 3"/>'
        )
        drawn.append(f'<text x="{x + 4:.1f}" y="14">threshold</text>')
    drawn.append(f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{base}" y2="{base}" stroke="#0b0c0c"/>')
    drawn.append(f'<text x="{_LEFT - 6}" y="20" text-anchor="end">{top:,}</text>')
    drawn.append(f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">0</text>')
    drawn.append(
        f'<text x="{(_WIDTH + _LEFT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">match weight (bits)</text>'
    )
    chart = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Pairs by match weight; the table below has the numbers">{"".join(drawn)}</svg>'
    )
    key = "<p>Blue: linked. Orange: for review.</p>"
    rows = [(f"{band['from']} to {band['to']}", band["linked"], band["review"]) for band in bands]
    numbers = rows_table(["Match weight (bits)", "Linked", "For review"], rows)
    return f"{chart}{key}<details><summary>The numbers</summary>{numbers}</details>"


def losses_section(found: Mapping[str, Json]) -> str:
    """What no blocking rule holds: the estimate, the bound, and the pair at worst."""
    proof, share = found["certificate"], found["estimated_share_of_matches_missed"]
    estimate = "an estimate from m, as if fields were independent"
    said = [f"Share of matches that no rule holds: {share:.3%} ({estimate})."]
    if proof["bound"] is None:
        said.append("Every pair that could be linked is produced by a rule: blocking provably loses nothing.")
    else:
        said.append(f"No pair that the rules miss can weigh more than {proof['bound']:+.2f} bits.")
        verdict = "blocking provably loses nothing" if proof["lossless"] else "such a pair would be linked"
        where = "under" if proof["lossless"] else "not under"
        if proof["threshold"] is not None:
            said.append(f"That is {where} the threshold of {proof['threshold']:+.2f} bits: {verdict}.")
        if not proof["exact"]:
            said.append("The search was cut short: the true bound may be lower.")
    page = "".join(f"<p>{escape(one)}</p>" for one in said)
    if not proof["witness"] or proof["lossless"]:
        return page
    rows = [(one["comparison"], one["level"], one["weight"], one["gain"] or "") for one in proof["witness"]]
    unequal = ", ".join(left if left == right else f"{left}={right}" for left, right in proof["unequal"])
    page += "<h3>Such a pair, at worst</h3>" + rows_table(["Comparison", "Level", "Bits", "Rarity"], rows)
    return page + f"<p>Not equal in it, so that no rule holds: {escape(unequal or 'nothing')}.</p>"
