"""The public notice says what the configuration says, and changes with it."""

from __future__ import annotations

import json
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from linker.cli import app
from pseudonym import registers
from pseudonym.retention.schedules import READY_MADE

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = json.loads((ROOT / "deploy" / "governance.json").read_text())
PURPOSE = EXAMPLE["projects"]["tf-2026"]["purposes"]["evaluation-2026"]


def written(tmp_path, change=lambda content: None, *words, code=0):
    content = json.loads(json.dumps(EXAMPLE))
    change(content)
    path = tmp_path / "governance.json"
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    done = CliRunner().invoke(app, ["notice", str(path), *words])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def project(content):
    return content["projects"]["tf-2026"]


def test_r72_the_notice_tells_who_what_why_how_long_and_whom_to_ask(tmp_path):
    text = written(tmp_path)
    record = project(EXAMPLE)
    for said in (record["controller"], record["processor"], PURPOSE["words"][1:], "31 December 2030"):
        assert said in text
    for basis in ("Article 6(1)(e)", "Article 9(2)(g)", "Article 10", "Schedule 1 paragraph 6", "section 64"):
        assert basis in text
    for one in registers.everyone():
        assert f"{one.title}, held by {one.holder(date.today())}" in text
        assert one.purposes[0].words.replace("_", "\\_") in text
    for right in (
        "copy of your personal data",
        "corrected",
        "deleted",
        "to object",
        "Information Commissioner",
    ):
        assert right in text
    assert "at least 2 years after last contact" in text
    assert "at most 31 days after receipt" in text
    assert "National Data Opt-out" in text
    # Nobody of the staff is in it.
    assert "alice" not in text
    assert "olive" not in text


CHANGES = {
    "controller": (lambda c: project(c).update(controller="Department of Trees"), "Department of Trees"),
    "end": (lambda c: project(c).update(end="2029-03-04T23:59:59Z"), "4 March 2029"),
    "basis": (
        lambda c: project(c)["purposes"]["evaluation-2026"].update(basis="6(1)(c)"),
        "a legal obligation",
    ),
    "words": (lambda c: project(c)["purposes"]["evaluation-2026"].update(words="to count"), "To count."),
    "sharing": (
        lambda c: project(c)["purposes"]["evaluation-2026"].update(sharing="consent"),
        "because you have consented to it",
    ),
    "contact": (lambda c: project(c).update(contact="Ask Poe"), "Ask Poe."),
    "accreditation": (
        lambda c: project(c)["accreditations"][0].update(reference="DEA/NEW"),
        "DEA/NEW, to 2030",
    ),
    "purpose": (
        lambda c: project(c)["purposes"].update({"second-2026": PURPOSE | {"words": "to plan"}}),
        "What for: second-2026",
    ),
    "exchange": (
        lambda c: c.update(
            exchanges=[{"project": "tf-2026", "recipient": "x", "register": "pnc", "public_key": "00" * 32}]
        ),
        "its holder gets a file to match by",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_r72_it_changes_with_the_configuration(name, tmp_path):
    change, said = CHANGES[name]
    assert said not in written(tmp_path)
    assert said in written(tmp_path, change)


def test_r72_a_register_that_is_used_no_more_and_a_schedule_that_changed(tmp_path):
    def fewer(content):
        project(content)["purposes"]["evaluation-2026"]["datasets"] = ["families", "pnc"]

    text = written(tmp_path, fewer)
    assert "Police National Computer" in text
    assert "Hospital" not in text
    assert "Opt-out" not in text
    (tmp_path / "own.toml").write_text(READY_MADE.read_text().replace("years = 25", "years = 75"))
    text = written(tmp_path, lambda content: project(content).update(schedules="own.toml"))
    assert "at least 75 years after closure" in text


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_r72_as_html_it_is_a_whole_page_and_nothing_in_it_is_markup(tmp_path):
    def sly(content):
        project(content)["contact"] = "<script>alert(1)</script>"

    text = written(tmp_path, sly, "--form", "html")
    assert "<script>" not in text
    page = Page()
    page.feed(text)
    assert page.open == []
    assert (page.tags.count("h1"), page.tags.count("h2")) == (1, 7)
    assert "<script>" not in written(tmp_path, sly)


def test_a_project_without_a_record_has_no_notice(tmp_path):
    said = written(tmp_path, lambda c: c.update(projects={"a": "2030-01-01T00:00:00Z"}), code=1)
    assert "no record" in said
