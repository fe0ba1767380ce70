"""The public notice says what the configuration says, and changes with it."""

from __future__ import annotations

import json
from datetime import date, timedelta
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


def expired(*which):
    """The example, with accreditations that ran out yesterday, or one for which none is left."""
    yesterday = (date.today() - timedelta(days=1)).isoformat()

    def change(content):
        for one in project(content)["accreditations"]:
            if one["of"] in which:
                one["expires"] = yesterday

    return change


@pytest.mark.parametrize("form", ["markdown", "html"])
@pytest.mark.parametrize("of", ["project", "processor"])
def test_r72_an_accreditation_that_ran_out_is_told_and_not_as_one_that_holds(of, form, tmp_path):
    reference = {"project": "DEA/2026/017", "processor": "DEA/P/004"}[of]
    fine = written(tmp_path, lambda content: None, "--form", form)
    assert f"Accreditation of the {of}: {reference}, to 2030" in fine
    assert "NOT IN FORCE" not in fine
    text = written(tmp_path, expired(of), "--form", form)
    assert f"Accreditation of the {of}" not in text
    yesterday = date.today() - timedelta(days=1)
    assert "NOT IN FORCE: no data are used for this at present." in text
    assert (
        f"The accreditation of the {of} ({reference}) expired on {yesterday.day} {yesterday:%B %Y}." in text
    )


def test_r72_on_its_last_day_an_accreditation_holds_and_a_later_one_takes_its_place(tmp_path):
    def today(content):
        for one in project(content)["accreditations"]:
            one["expires"] = date.today().isoformat()

    def renewed(content):
        expired("project")(content)
        later = {"of": "project", "reference": "DEA/NEW", "expires": "2030-01-31"}
        project(content)["accreditations"].append(later)

    assert "NOT IN FORCE" not in written(tmp_path, today)
    text = written(tmp_path, renewed)
    assert "NOT IN FORCE" not in text
    assert "DEA/NEW, to 2030-01-31" in text


def test_r72_an_accreditation_that_a_purpose_asks_for_and_has_not_is_told(tmp_path):
    text = written(tmp_path, lambda content: project(content).update(accreditations=[]))
    assert "The project is not accredited. The processor is not accredited." in text

    def no_gateway(content):
        project(content)["accreditations"] = []
        del project(content)["purposes"]["evaluation-2026"]["gateway"]

    assert "NOT IN FORCE" not in written(tmp_path, no_gateway)


def test_r72_whoever_writes_a_notice_hears_what_is_not_in_force(tmp_path):
    content = json.loads(json.dumps(EXAMPLE))
    expired("project")(content)
    project(content)["end"] = "2026-01-31T23:59:59Z"
    path = tmp_path / "governance.json"
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    # It says what is true, and may take the place of the one that says something else.
    done = CliRunner().invoke(app, ["notice", str(path)])
    assert done.exit_code == 0
    assert "Not in force, as the notice says: The accreditation of the project" in done.stderr
    assert "The project tf-2026 ended on 31 January 2026." in done.stderr
    assert "ended on 31 January 2026" in done.stdout
    assert "Not in force" not in done.stdout


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
