"""`kinlink blocking`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linker.cli import options
from linker.cli.reading import gather_refusals, read_sources, show_layouts, show_refusals
from linker.cli.screen import Screen, count, session, table
from linker.files import read_frame
from linker.model import Model

if TYPE_CHECKING:
    from linker.blocking import Blocking
    from linker.blocking_certificate import Certificate
    from linker.blocking_counts import RuleCount
    from linker.blocking_suggest import Suggestion

_BLOCKS = 10  # largest blocks shown


def blocking(
    left: options.LeftFile,
    right: Annotated[
        Path | None,
        typer.Argument(metavar="[RIGHT]", show_default=False, help="Without it: duplicates in LEFT."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="FILE",
            help="A model from 'kinlink train': its rules, and what they can lose by its weights.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="WEIGHT",
            help="Match weight in bits from which a run links: can the rules lose such a pair?",
        ),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            metavar="RULE",
            help="In place of the model's or the default rules: 'surname + date_of_birth.year'. Repeat it.",
        ),
    ] = None,
    suggest: Annotated[
        bool,
        typer.Option("--suggest", help="Also look for rules to add, and say what each brings and costs."),
    ] = False,
    budget: Annotated[
        float,
        typer.Option("--budget", metavar="PAIRS", min=0, help="Pairs a record that these may cost in all."),
    ] = 100.0,
    links: Annotated[
        Path | None,
        typer.Option(
            "--links",
            metavar="FILE",
            help="Links or judged pairs: what the rules catch is measured on them, not estimated.",
        ),
    ] = None,
    show_values: Annotated[
        bool,
        typer.Option(
            "--show-values", help="Show what the largest blocks agree on: personal data, mind who looks on."
        ),
    ] = False,
    id_columns: options.IdColumns = None,
    mapping: options.Mapping = None,
    ignore: options.Ignored = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Say what blocking costs and what it can lose, before a run.

    Pairs and largest blocks of each rule; the share of matches that no rule holds, an estimate.
    With a model also the largest weight that a pair can have which no rule produces.
    """
    with session(as_json) as screen:
        wishes = options.Wishes.of(id_columns, mapping, ignore)
        scoring = Model.load(model) if model else None
        known = read_frame(links) if links else None
        sources = read_sources([left, right] if right else [left], wishes)
        show_layouts(screen, sources)
        show_refusals(screen, gather_refusals(sources))
        from linker.blocking import examine
        from linker.blocking_counts import parse_rule

        found = examine(
            sources[0].records,
            sources[1].records if right else None,
            model=scoring,
            threshold=threshold,
            rules=[parse_rule(text) for text in rules or ()],
            links=known,
            suggest=suggest,
            budget=budget,
            seed=seed,
        )
        screen.document["blocking"] = found.as_dict()
        _show_counts(screen, found)
        _show_blocks(screen, found, show_values)
        show_losses(screen, found.missed, found.measured, found.certificate)
        if found.suggestions is not None:
            _show_suggestions(screen, found.suggestions, found.measured)


def _show_counts(screen: Screen, found: Blocking) -> None:
    records = sum(found.records)

    def row(one: RuleCount, new: str) -> tuple[str, ...]:
        return one.rule.name, f"{one.pairs:,}", new, _a_record(one.pairs, records)

    def about(one: RuleCount) -> str:
        return ("~" if one.estimated else "") + f"{one.new:,}"

    rows = [row(one, about(one)) for one in found.counts]
    rows += [row(one, "left out") for one in found.left_out]
    screen.title("Pairs that agree on")
    screen.say(table(["Rule", "Pairs", "New", "A record"], rows, numbers=[1, 2, 3]))
    about_all = "about " if found.estimated else ""
    each, share = _a_record(found.pairs, records), found.pairs / found.possible if found.possible else 0.0
    screen.say(
        f"Together {about_all}{count(found.pairs, 'pair')}, each once, {each} a record: "
        f"{share:.3%} of all {found.possible:,}."
    )
    if found.estimated:
        screen.say("~ from a sample of the rule's pairs; a run counts them all.")
    if found.left_out:
        screen.say("Rules marked 'left out' cost too much: a run without a model does without them.")


def _show_blocks(screen: Screen, found: Blocking, show_values: bool) -> None:
    blocks = [(one.rule, block) for one in found.counts for block in one.largest]
    blocks.sort(key=lambda item: -item[1].pairs)
    heads = ["Rule", *(["Agree on"] if show_values else []), "Left", "Right", "Pairs"]
    rows = [
        (
            rule.name,
            *([", ".join(found.values(rule, block))] if show_values else []),
            f"{block.left:,}",
            f"{block.right:,}",
            f"{block.pairs:,}",
        )
        for rule, block in blocks[:_BLOCKS]
    ]
    if not rows:
        return
    first = len(heads) - 3
    screen.title("Largest blocks")
    screen.say(table(heads, rows, numbers=range(first, len(heads))))
    if not show_values:
        screen.say("What they agree on is personal data: --show-values shows it.")


def show_losses(screen: Screen, missed: float, measured: bool, certificate: Certificate | None) -> None:
    """The share of matches that no rule holds, and the certificate if there is one."""
    screen.title("What the rules can lose")
    how = "measured on the links given" if measured else "an estimate from m, as if fields were independent"
    screen.say(f"Share of matches that no rule holds: {missed:.3%} ({how}).")
    if certificate is None:
        screen.say("With --model: the largest weight that a pair can have which no rule produces.")
    else:
        _show_certificate(screen, certificate)


def _show_certificate(screen: Screen, found: Certificate) -> None:
    if found.bound == float("-inf"):
        screen.say("Every pair that could be linked is produced by a rule: blocking provably loses nothing.")
        return
    chance = 1.0 / (1.0 + 2.0**-found.bound) if found.bound > -1000 else 0.0
    screen.say(
        f"No pair that the rules miss can weigh more than {found.bound:+.2f} bits (probability {chance:.4f})."
    )
    if not found.exact:
        screen.say("The search was cut short: the true bound may be lower.")
    if found.lossless is not None:
        verdict = "blocking provably loses nothing" if found.lossless else "such a pair would be linked"
        where = "under" if found.lossless else "not under"
        screen.say(f"That is {where} the threshold of {found.threshold:+.2f} bits: {verdict}.")
    if found.witness and not found.lossless:
        rows = [
            (one.comparison, one.level, f"{one.weight:+.2f}", f"{one.gain:+.2f}" if one.gain else "")
            for one in found.witness
        ]
        screen.say("", "Such a pair, at worst:")
        screen.say(table(["Comparison", "Level", "Bits", "Rarity"], rows, numbers=[2, 3]))
        unequal = ", ".join(_named(pair) for pair in found.unequal)
        agreeing = ", ".join(_named(pair) for pair in found.agreeing)
        screen.say(f"Not equal in it, so that no rule holds: {unequal or 'nothing'}.")
        screen.say(f"Equal in it, so that a rule on some of them would find it: {agreeing or 'nothing'}.")


def _show_suggestions(screen: Screen, found: tuple[Suggestion, ...], measured: bool) -> None:
    screen.title("Rules to add, in this order")
    if not found:
        screen.say("None within the budget adds anything.")
        return
    certified = any(one.certificate is not None for one in found)
    heads = ["Rule", "Pairs", "Catches", "Adds", *(["Can lose"] if certified else [])]
    rows = [
        (
            one.rule.name,
            f"{one.pairs:,}",
            f"{one.caught:.2%}",
            f"{one.adds:.2%}",
            *([f"{one.certificate.bound:+.2f}"] if one.certificate else []),
        )
        for one in found
    ]
    screen.say(table(heads, rows, numbers=range(1, len(heads))))
    of = "the links given" if measured else "the matches, an estimate"
    screen.say(f"Catches and Adds are shares of {of}; Adds is what no rule before it catches.")
    if certified:
        screen.say("Can lose is the largest weight, in bits, that no rule up to this one produces.")
    last = found[-1].certificate
    if last is not None and last.lossless is False:
        screen.say("That is not under the threshold yet; no further rule was found within the budget.")


def _a_record(pairs: int, records: int) -> str:
    return f"{pairs / max(1, records):,.1f}"


def _named(pair: tuple[str, str]) -> str:
    return pair[0] if pair[0] == pair[1] else f"{pair[0]}={pair[1]}"
