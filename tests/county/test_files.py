"""The files of a made-up county: what they carry, how well they are kept, and the truth that knows all."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import population
from benchmarks.county.block import block_lives
from benchmarks.county.councils import COUNCILS, deliveries, members
from benchmarks.county.county import DELIVERIES, NOW, County
from benchmarks.county.presets import PRESETS, REGISTERS
from benchmarks.county.records import BIT, Asked, burdened, write_down
from benchmarks.county.write import delivery_days, write_county
from linker.standardise.identifiers import nino
from linker.standardise.postcodes import postcode
from linker.standardise.steps import PROBLEM

FAMILIES = 600
EVERY_NAME = {"forename", "middle_names", "surname", "given_names", "family_name", "preferred_surname"}
EVERY_NUMBER = {
    "nhs_number",
    "nino",
    "ni_number",
    "upn",
    "former_upn",
    "uln",
    "pncid",
    "cro_number",
    "prison_number",
}
EVERY_PLACE = {"address", "postcode", "prior_postcode"}
#: What each register has of names, numbers and places: each as its holder describes it.
CARRIES = {
    "pnc": {"pncid", "cro_number", "forename", "middle_names", "surname", "address", "postcode"},
    "prisons": {"prison_number", "pncid", "cro_number", "forename", "surname", "address", "postcode"},
    "npd": {
        "upn",
        "former_upn",
        "uln",
        "forename",
        "middle_names",
        "surname",
        "preferred_surname",
        "postcode",
    },
    "ilr": {"uln", "ni_number", "given_names", "family_name", "prior_postcode", "postcode", "address"},
    "wpls": {"nino", "forename", "surname", "address", "postcode"},
    "hes": {"nhs_number", "postcode"},
    "mhmds": {"nhs_number", "postcode"},
    "ndtms": set(),
}


def within(count, trials, p):
    """Whether a count is within five standard deviations of what the rate says."""
    return abs(count - trials * p) <= 5 * math.sqrt(max(1.0, trials * p * (1 - p)))


def folder(tmp_path_factory, preset: str, **more) -> Path:
    path = tmp_path_factory.mktemp("county") / preset
    write_county(County(FAMILIES, 7, PRESETS[preset], **more), path)
    return path


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    return folder(tmp_path_factory, "clean", issued_ninos=True)


@pytest.fixture(scope="module")
def adversarial(tmp_path_factory) -> Path:
    return folder(tmp_path_factory, "adversarial")


def files(path: Path) -> dict[str, pl.DataFrame]:
    found = [*path.glob("registers/*.parquet"), *path.glob("councils/*/*.parquet")]
    return {str(one.relative_to(path).with_suffix("")): pl.read_parquet(one) for one in sorted(found)}


def identified(path: Path) -> pl.DataFrame:
    """All numbers in all files, with whose they are."""
    whose = pl.read_parquet(path / "truth/records.parquet")
    found = []
    same = {
        "NHS Number": "nhs_number",
        "NHSNo": "nhs_number",
        "UPN": "upn",
        "NI Number": "nino",
        "ni_number": "nino",
    }
    same |= {"ULN": "uln", "PNC ID": "pncid"}
    for name, frame in files(path).items():
        own = whose.filter(file=name)
        frame = frame.rename({frame.columns[0]: "record_id"}).rename(same, strict=False)
        for kind in ("nhs_number", "nino", "upn", "uln", "pncid", "cro_number", "prison_number"):
            if kind in frame.columns:
                have = frame.select(
                    "record_id", pl.lit(kind).alias("kind"), pl.col(kind).alias("value")
                ).drop_nulls()
                found.append(have.join(own, on="record_id"))
    return pl.concat(found)


def test_each_register_has_its_fields_and_no_other(clean):
    for register in REGISTERS:
        columns = set(pl.read_parquet_schema(clean / f"registers/{register}.parquet"))
        assert columns & (EVERY_NAME | EVERY_NUMBER | EVERY_PLACE) == CARRIES[register]
        assert {"record_id", "date_of_birth"} <= columns
        other = (
            columns
            - EVERY_NAME
            - EVERY_NUMBER
            - EVERY_PLACE
            - {"record_id", "date_of_birth", "sex", "gender"}
        )
        assert all("alias" in name for name in other) or register in ("hes", "ndtms")
    ndtms = pl.read_parquet(clean / "registers/ndtms.parquet")
    assert (ndtms["initials"].str.len_chars() == 2).all()
    assert ndtms["partial_postcode"].drop_nulls().str.contains("^[A-Z]{1,2}[0-9]{1,2} [0-9]$").all()


@pytest.mark.parametrize("county", ["clean", "adversarial"])
def test_every_row_of_every_file_is_one_persons(request, county):
    path = request.getfixturevalue(county)
    whose = pl.read_parquet(path / "truth/records.parquet")
    people = pl.read_parquet(path / "truth/people.parquet")
    assert people["person"].is_unique().all()
    known = files(path)
    assert len(known) == len(REGISTERS) + 2 * len(COUNCILS)
    assert whose.height == sum(frame.height for frame in known.values())
    for name, frame in known.items():
        own = whose.filter(file=name)
        ids = frame[frame.columns[0]]
        assert ids.is_unique().all()
        assert sorted(ids) == sorted(own["record_id"])
    assert whose["person"].is_in(people["person"].implode()).all()
    facts = json.loads((path / "truth/county.json").read_text())
    assert facts["preset"] == county
    assert facts["rows"]["truth/records"] == whose.height


def test_attributes_are_of_the_registers_records_and_of_their_lives(adversarial):
    whose = pl.read_parquet(adversarial / "truth/records.parquet")
    people = pl.read_parquet(adversarial / "truth/people.parquet")
    for register in REGISTERS:
        held = pl.read_parquet(adversarial / f"attributes/{register}.parquet")
        records = pl.read_parquet(adversarial / f"registers/{register}.parquet")
        assert held["record_id"].is_in(records["record_id"].implode()).all()
        assert not set(held.columns) & (EVERY_NAME | EVERY_NUMBER | EVERY_PLACE | {"date_of_birth", "sex"})
        own = held.join(whose.filter(file=f"registers/{register}"), on="record_id").join(people, on="person")
        assert own.height == held.height > 0
        day = next(name for name in held.columns if name.endswith("_date"))
        assert (own[day] >= own["born"]).all()
        assert (own.drop_nulls("died")[day] <= own.drop_nulls("died")["died"]).all()
        changed = own.drop_nulls("changed_on")
        assert ((changed[day] >= changed["changed_on"]) == (changed["identity"] == 1)).all()
        if register == "pnc":
            assert (own[day] > own["born"].dt.offset_by("9y")).all()


def test_the_clean_files_agree_about_everybody_and_err_in_nothing(clean):
    whose = pl.read_parquet(clean / "truth/records.parquet")
    assert (whose["slips"] == 0).all()
    # Two files of the same day: the same names, birth and home, but for those who live at two addresses.
    one, two = (
        pl.read_parquet(clean / f"registers/{name}.parquet").join(
            whose.filter(file=f"registers/{name}"), on="record_id"
        )
        for name in ("wpls", "ilr")
    )
    both = one.join(two, on=["person", "identity"], suffix="_ilr")
    assert both.height > 100
    for mine, yours in (
        ("forename", "given_names"), ("surname", "family_name"), ("date_of_birth", "date_of_birth_ilr"),
        ("sex", "sex_ilr"), ("nino", "ni_number"),
    ):  # fmt: skip
        assert both[mine].eq_missing(both[yours]).all()
    assert (both["postcode"] == both["postcode_ilr"]).sum() > 0.99 * both.height
    assert two["person"].is_unique().all()


def nhs_is_valid(number: str) -> bool:
    check = (
        11 - sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1), strict=False)) % 11
    )
    return len(number) == 10 and number[0] == "9" and check % 11 == int(number[9]) and check != 10


def uln_is_valid(number: str) -> bool:
    weights = range(10, 0, -1)
    return number[0] != "0" and sum(int(d) * w for d, w in zip(number, weights, strict=True)) % 11 == 10


def upn_is_valid(number: str) -> bool:
    total = sum(int(digit) * place for place, digit in enumerate(number[1:], 2))
    return len(number) == 13 and "ABCDEFGHJKLMNPQRTUVWXYZ"[total % 23] == number[0] and int(number[1:4]) < 100


def justice_letter(year: str, serial: str) -> str:
    return "ZABCDEFGHJKLMNPQRTUVWXY"[int(year[-2:] + serial) % 23]


CHECKS = {
    "nhs_number": nhs_is_valid,
    "uln": uln_is_valid,
    "upn": upn_is_valid,
    "pncid": lambda n: n[4] == "/" and len(n) == 13 and n[12] == justice_letter(n[:4], n[5:12]),
    "cro_number": lambda n: n[6] == "/" and len(n) == 10 and n[9] == justice_letter(n[7:9], n[:6]),
    "prison_number": lambda n: len(n) == 7 and n[0] in "STUVWXYZ" and n[1:5].isdigit() and n[5:].isalpha(),
}


@pytest.mark.parametrize("kind", list(CHECKS))
def test_numbers_have_their_check_digit_and_come_from_ranges_that_are_not_issued(clean, kind):
    values = identified(clean).filter(kind=kind)["value"].unique()
    assert len(values) >= 10
    assert all(CHECKS[kind](value) for value in values)


def test_known_numbers_pass_the_checks_above():
    assert nhs_is_valid("9434765870")
    assert not nhs_is_valid("9434765871")
    assert uln_is_valid("9276308686")
    assert justice_letter("1981", "0000034") == "U"
    assert justice_letter("91", "065656") == "H"


def test_ninos_are_never_issued_ones_unless_asked_for(clean, adversarial):
    asked = identified(clean).filter(kind="nino")["value"].to_frame()
    checked = asked.select(nino(pl.col("value")).whole.alias("checked")).unnest("checked")
    assert checked[PROBLEM].null_count() == asked.height > 100
    given = identified(adversarial).filter(kind="nino")["value"]
    assert given.str.slice(0, 1).is_in(list("DFIQUV")).all()


def test_a_number_is_one_persons_in_clean_files(clean):
    known = identified(clean).group_by("kind", "value").agg(pl.col("person").n_unique())
    assert (known["person"] == 1).all()
    per_identity = (
        identified(clean)
        .filter(kind="nhs_number")
        .group_by("person", "identity")
        .agg(pl.col("value").n_unique())
    )
    assert (per_identity["value"] == 1).all()


def test_no_nhs_number_or_upn_bridges_a_change_of_identity(adversarial):
    people = pl.read_parquet(adversarial / "truth/people.parquet").drop_nulls("changed_on")
    assert people.height > 20
    known = identified(adversarial).filter(
        pl.col("kind").is_in(["nhs_number", "upn"]), (pl.col("slips") & NUMBER_SLIPS) == 0
    )
    changed = known.filter(pl.col("person").is_in(people["person"].implode()))
    assert changed["identity"].n_unique() == 2
    both = changed.group_by("value").agg(pl.col("identity").n_unique())
    assert (both["identity"] == 1).all()


NUMBER_SLIPS = BIT["number_wrong"] | BIT["number_of_relative"]


def test_postcodes_are_valid(clean):
    for register in ("hes", "npd"):
        frame = pl.read_parquet(clean / f"registers/{register}.parquet").drop_nulls("postcode")
        checked = frame.select(postcode(pl.col("postcode")).whole.alias("checked")).unnest("checked")
        assert checked[PROBLEM].null_count() == frame.height


@pytest.fixture(scope="module")
def hard():
    """Everybody's record as one register would have it, and who is of which naming community."""
    county = County(4000, 5, PRESETS["hard"])
    lives = block_lives(county, next(county.blocks()))
    rows = np.arange(len(lives.persons))
    columns = frozenset(
        {"forename", "middle", "surname", "date_of_birth", "sex", "house", "street", "town", "postcode"}
    )
    on = np.minimum(NOW, lives.persons.died)
    asked = Asked(rows, on, lives.persons.number * 4, "wpls", county.preset.errors_of("wpls"), columns)
    return lives, asked, write_down(lives, asked), lives.homes.community[lives.persons.row]


@pytest.mark.parametrize(
    ("slip", "error"),
    [
        ("sex_wrong", "sex_wrong"), ("names_swapped", "names_swapped"), ("no_abode", "no_abode"),
        ("birth_wrong", "birth_part"), ("forename_missing", "missing forename"),
        ("surname_missing", "missing surname"), ("birth_missing", "missing date_of_birth"),
        ("sex_missing", "missing sex"), ("postcode_missing", "missing postcode"),
        ("forename_typo", "forename_typo"), ("surname_typo", "surname_typo"),
    ],
)  # fmt: skip
def test_a_slip_happens_as_often_as_the_preset_says_and_more_to_some_communities(hard, slip, error):
    lives, asked, made, community = hard
    for place, many in enumerate(np.bincount(community)):
        errors = burdened(asked.errors, lives.county.preset.burden[place])
        p = dict(errors.missing)[error[8:]] if error.startswith("missing") else getattr(errors, error)
        count = ((made.slips[community == place] & BIT[slip]) != 0).sum()
        if slip.endswith("typo") or slip == "birth_wrong":
            # Some slips change nothing, and of two that happen to one value one can undo or hide the other.
            assert 0.75 * p - 5 * math.sqrt(p / many) < count / many < p + 5 * math.sqrt(p / many)
        else:
            assert within(count, many, p)


def test_what_is_noted_is_what_is_written(hard):
    lives, _, made, _ = hard
    slips = pl.Series(made.slips)
    for name, slip in (
        ("forename", "forename_missing"),
        ("postcode", "postcode_missing"),
        ("date_of_birth", "birth_missing"),
    ):
        assert (made.columns[name].is_null() == (slips & BIT[slip] != 0)).all()
    right = (
        slips & (BIT["birth_wrong"] | BIT["birth_swapped"] | BIT["birth_default"] | BIT["birth_missing"]) == 0
    )
    born = pl.Series(lives.persons.born.astype("datetime64[D]")).cast(pl.String)
    assert (made.columns["date_of_birth"] == born).filter(right).all()
    assert (made.columns["date_of_birth"] != born).filter(~right).drop_nulls().all()
    clean = slips & sum(BIT[name] for name in BIT if "name" in name or name == "initial_only") == 0
    surnames = lives.county.names.surnames.gather(made.surname)
    assert made.columns["surname"].filter(clean).str.starts_with(surnames.filter(clean)).all()
    initial = (slips & BIT["initial_only"] != 0) & (
        slips & (BIT["names_swapped"] | BIT["forename_missing"]) == 0
    )
    assert (made.columns["forename"].filter(initial).str.len_chars() == 1).all()


def test_councils_keep_their_own_columns_and_deliver_twice(adversarial):
    first, second = delivery_days()
    frames = {name: frame for name, frame in files(adversarial).items() if name.startswith("councils")}
    columns = [set(frames[f"councils/{council}/{second}"].columns) for council in COUNCILS]
    assert all(
        not one & other - {"UPN"} for one, other in zip(columns, columns[1:] + columns[:1], strict=True)
    )
    marwick = frames[f"councils/marwick/{second}"]
    assert marwick["dob"].drop_nulls().str.contains("^[0-3][0-9]/[01][0-9]/(?:19|20)[0-9]{2}$").all()
    assert set(marwick["crit_1"]) == {"Y", "N"}
    assert set(frames[f"councils/orlstead/{second}"]["GenderCode"]) == {"0", "1", "2"}
    people, whose = (pl.read_parquet(adversarial / f"truth/{name}.parquet") for name in ("people", "records"))
    seen = [set(whose.filter(pl.col("file").str.ends_with(day))["person"]) for day in (first, second)]
    newborn = set(people.filter(pl.col("born") > pl.lit(first).str.to_date())["person"])
    assert newborn & seen[1]
    assert not newborn & seen[0]
    assert len(seen[0] & seen[1]) > 0.8 * len(seen[0])


def test_members_are_in_a_delivery_twice_as_often_as_the_preset_says_and_keep_their_reference():
    county = County(4000, 5, PRESETS["adversarial"])
    lives = block_lives(county, next(county.blocks()))
    first, second = (deliveries(lives, turn) for turn in (0, 1))
    numbers = np.concatenate([one.number for one in second]) // 2
    here = members(lives)
    wanted = (here.since <= DELIVERIES[1]) & (here.until > DELIVERIES[1])
    wanted &= lives.needs.screened[here.family] <= DELIVERIES[1]
    assert within((numbers % 2).sum(), wanted.sum(), county.preset.again_in_council)
    assert (numbers % 2 == 0).sum() == wanted.sum()
    # Of what both deliveries hold, only what was typed anew has other slips.
    one, two = (
        pl.concat(
            [
                pl.DataFrame({"id": part.record_id, "number": part.number, "slips": part.written.slips})
                for part in turn
            ]
        )
        for turn in (first, second)
    )
    both = one.join(two, on="id", suffix="_second")
    anew = both["number"] != both["number_second"]
    assert within(anew.sum(), both.height, county.preset.rekeyed)
    spelling = BIT["forename_typo"] | BIT["surname_typo"] | BIT["sex_wrong"] | BIT["names_swapped"]
    kept = ((both["slips"] ^ both["slips_second"]) & spelling == 0).filter(~anew)
    assert kept.sum() > 0.995 * len(kept)


def test_a_crossed_number_is_a_brothers_or_sisters(adversarial):
    known = identified(adversarial).filter(kind="nhs_number")
    owner = known.filter(pl.col("file").str.starts_with("registers"), pl.col("slips") & NUMBER_SLIPS == 0)
    owner = owner.select("value", pl.col("person").alias("owner")).unique()
    crossed = known.filter(
        pl.col("file").str.starts_with("councils"), pl.col("slips") & BIT["number_of_relative"] != 0
    )
    both = crossed.join(owner, on="value").filter(pl.col("owner") != pl.col("person"))
    assert both.height > 5
    assert (both["owner"] // 10 == both["person"] // 10).all()


def test_a_seed_gives_the_same_bytes_and_blocks_the_same_rows(tmp_path):
    for name, seed, block in (("one", 3, 8192), ("again", 3, 8192), ("blocks", 3, 40)):
        write_county(County(101, seed, PRESETS["hard"], others=1.0), tmp_path / name, block)
    for one in sorted((tmp_path / "one").rglob("*.parquet")):
        inside = one.relative_to(tmp_path / "one")
        assert one.read_bytes() == (tmp_path / "again" / inside).read_bytes()
        whole, parts = pl.read_parquet(one), pl.read_parquet(tmp_path / "blocks" / inside)
        assert whole.sort(whole.columns).equals(parts.sort(parts.columns))


def test_another_seed_gives_other_people():
    born = []
    for seed in (3, 4):
        county = County(500, seed, PRESETS["clean"], others=0.0)
        born.append(set(block_lives(county, next(county.blocks())).persons.born.tolist()))
    assert len(born[0] & born[1]) < 0.3 * len(born[0])


@pytest.mark.parametrize("preset", ["clean", "adversarial"])
def test_the_smallest_county_is_one(tmp_path, preset):
    rows = write_county(County(1, 2, PRESETS[preset], others=0.0), tmp_path)
    assert rows["truth/families"] == 1


def test_what_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one family"):
        County(0, 1, PRESETS["clean"])
    with pytest.raises(ValueError, match="4,500,000 households"):
        County(4_000_000, 1, PRESETS["clean"])
    (tmp_path / "something").touch()
    with pytest.raises(ValueError, match="name a new folder"):
        write_county(County(1, 1, PRESETS["clean"]), tmp_path)


def test_the_commands_write_and_score(tmp_path, monkeypatch, capsys):
    where = tmp_path / "made"
    monkeypatch.setattr(
        sys, "argv", f"population.py county --families 40 --errors clean --out {where}".split()
    )
    population.main()
    assert "registers/npd" in capsys.readouterr().out
    whose = pl.read_parquet(where / "truth/records.parquet")
    one, two = (
        whose.filter(file=name) for name in (f"councils/fenham/{delivery_days()[1]}", "registers/npd")
    )
    both = one.join(two, on=["person", "identity"])
    links = both.select(pl.col("record_id").alias("left_id"), pl.col("record_id_right").alias("right_id"))
    links.write_parquet(tmp_path / "links.parquet")
    asked = f"--truth {where}/truth --left {one['file'][0]} --right registers/npd"
    asked += f" --links {tmp_path}/links.parquet --out {tmp_path}/score.csv"
    monkeypatch.setattr(sys, "argv", f"population.py score {asked}".split())
    population.main()
    score = pl.read_csv(tmp_path / "score.csv").filter(by="all")
    assert set(score["stage"]) == {"link", "person", "family"}
    assert (score["rate"] == 1.0).all()
    monkeypatch.setattr(sys, "argv", f"population.py county --families 0 --out {where}".split())
    with pytest.raises(SystemExit):
        population.main()


def test_people_elsewhere_are_in_registers_alone(tmp_path):
    """A register of the whole country: most records are of others, and councils deliver what they did."""
    few, many = (County(200, 4, PRESETS["realistic"], 1.0, elsewhere=more) for more in (0.0, 20.0))
    here, all_of_them = (write_county(one, tmp_path / name) for one, name in ((few, "few"), (many, "many")))
    told = json.loads((tmp_path / "many" / "truth" / "county.json").read_text())
    assert (told["households"], told["elsewhere"]) == (400, 4000)
    truth = pl.read_parquet(tmp_path / "many" / "truth" / "records.parquet")
    known = pl.read_parquet(tmp_path / "many" / "truth" / "people.parquet").select("person", "household")
    assert truth.join(known, on="person", how="anti").is_empty()
    strangers = truth.join(known.filter(pl.col("household") >= 400), on="person")
    assert not strangers["file"].str.starts_with("councils/").any()
    for name, rows in all_of_them.items():
        if name.startswith("councils/"):
            assert rows == here[name]
    for register in REGISTERS:
        records = pl.read_parquet(tmp_path / "many" / "registers" / f"{register}.parquet")
        assert records["record_id"].is_unique().all()
        assert records.height > 4 * here[f"registers/{register}"]
        assert strangers.filter(pl.col("file") == f"registers/{register}").height > 1000
