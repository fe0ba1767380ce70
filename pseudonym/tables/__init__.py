"""Protected tables: counts, rates, means and sums of people for councils and for publication.

    declaration ──▶ read ──▶ count ──▶ suppress, round ──▶ attack ──▶ report ──▶ two approvals ──▶ register
                                          ▲                  │                                        │
                                          └── too narrow ────┘ ◀──── what was released before ────────┘

The rules this package keeps:

- A table is declared before it is counted: at most three dimensions of closed lists, persons or families.
- A cell of fewer than ten persons or ten families is suppressed, a zero too, unless it is declared that
  nobody can be there. Sums are suppressed where one or two contribute nearly all.
- What is published is rounded, or perturbed by cell keys. Totals are sums of published cells; rates and
  means are made of published cells alone.
- Before a table can be approved it is attacked: with the rules, the totals and all earlier releases known,
  every suppressed cell keeps five possible values or more. What cannot be protected is coarser, or refused.
- A sum less the same sum of an earlier table is of ten persons and ten families or more, none of whom
  dominates it; else the table is refused.
- A council reads its own area and the total of all areas, nobody else's.
"""
