"""What people decided is carried out, at the identity role: each decision as a whole, also after a crash.

    asked ─▶ found in the vault ─▶ rule on disk, which holds ─▶ erased everywhere │ number taken out ─▶ done

The rules this module keeps:

- A rule is on disk, with all that is still to be done, before anything is done; `resume` does the rest
  after a crash.
- No batch of a delivery comes between finding people and the rule that keeps them away (`Book.turn`).
- By what a person was sought is not kept: a request is known again by 16 bits of a keyed function, as
  erasures are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl

from pseudonym import clock, columns, registers
from pseudonym.errors import ConflictError, InputError, NotFoundError, PseudonymError
from pseudonym.openings import Mandate as Opening
from pseudonym.optouts import rules
from pseudonym.optouts.agreed import Agreed
from pseudonym.optouts.alone import alone
from pseudonym.optouts.book import Book, fresh_name
from pseudonym.optouts.checks import Check, Checks, Exemption, Passed, within
from pseudonym.optouts.rules import Asked, Kind, Override, Rule, State
from pseudonym.people import People
from pseudonym.roles.checks import Mandate
from pseudonym.roles.erasing import MOST, Erasing, Erasure
from pseudonym.roles.flat import flat_rows
from pseudonym.roles.refusals import RequestIdError
from pseudonym.subjects import LIVING
from pseudonym.urn import Kind as PersonKind
from pseudonym.vault import Vault

REASON = "ERASURE_REASON_OBJECTION"
NUMBER = "nhs"
Find = Callable[[], Sequence[bytes]]
"""The ids of all whom a request is about, or raises why there is nobody."""


class OptOuts:
    """The decisions of people whom one identity role knows; usable from any thread.

    Args:
        vault: where they are found.
        people: the same, as persons.
        erasing: erases over all roles.
        book: the rules.
        checks: the checks of the National Data Opt-out.
        agreed: how its lists are exchanged, or None where nobody agreed.
        failed: is told the reason when a decision cannot be carried out at the start, or daily.
    """

    def __init__(
        self,
        vault: Vault,
        people: People,
        erasing: Erasing,
        book: Book,
        checks: Checks,
        agreed: Agreed | None,
        failed: Callable[[str], object] = lambda reason: None,
    ) -> None:
        self._vault, self._people, self._erasing = vault, people, erasing
        self.book, self._checks, self._agreed, self._failed = book, checks, agreed, failed
        self._asking, self._checking = threading.Lock(), threading.RLock()
        self._undone: set[str] = set()  # rules that failed since the start

    def resume(self) -> None:
        """Do what a crash, or a database that was put back, left undone, before anything is served.

        A rule that cannot be carried out holds all the same, and keeps neither the others nor the role from
        starting: see `retry`.
        """
        every = self.book.all()
        self._try(
            [
                one
                for one in every
                if one.state is State.PENDING or one.kind in (Kind.NHS_NUMBER, Kind.SHARING)
            ]
        )

    def retry(self) -> int:
        """Carry out what could not be carried out before; how many rules. It is called every day."""
        with self._asking:
            return self._try(
                [one for one in self.book.all() if one.state is State.PENDING or one.name in self._undone]
            )

    def _try(self, some: Sequence[Rule]) -> int:
        count = 0
        for rule in some:
            try:
                self._carry_out(rule)
                self._undone.discard(rule.name)
                count += 1
            except PseudonymError as error:
                self._undone.add(rule.name)
                self._failed(error.reason)
        return count

    # --- withdrawal and the NHS number -----------------------------------------------------------------

    def withdraw(self, mandate: Mandate, requester: str, tag: str, find: Find) -> tuple[Rule, Erasure]:
        """Withdraw people: what comes of them later is nobody's, and what is there is erased."""
        with self._asking:
            rule = self._begun(Kind.WITHDRAWAL, mandate, requester, tag, find)
            rule = self._carry_out(rule)
            return rule, self._erasing.get(rule.request.project, rule.erasure_id)

    def no_number(self, mandate: Mandate, requester: str, tag: str, find: Find) -> tuple[Rule, int]:
        """Take people's NHS numbers out of the vault for good; the rule, and how many rows had one."""
        with self._asking:
            rule = self._begun(Kind.NHS_NUMBER, mandate, requester, tag, find)
            return self._carried_out(rule)

    def _begun(
        self, kind: Kind, mandate: Mandate, requester: str, tag: str, find: Find, persons: int = 0
    ) -> Rule:
        """The rule of a request, which holds; made unless the request made it before."""
        rule = self._known(kind, mandate, requester, tag)
        if rule is not None:
            return rule
        with self.book.turn:
            pids = tuple(find())
            if not pids:
                raise NotFoundError("None of the persons is known any more.", "Nothing was done.")
            if len(pids) > MOST:
                raise ConflictError("These are too many people for one request.", "Ask for fewer at a time.")
            opening = Opening(requester, mandate.purpose, mandate.project)
            tokens = self._tokens(pids, opening) if kind in (Kind.WITHDRAWAL, Kind.NHS_NUMBER) else ()
            request = _asked(mandate, requester, tag)
            count = persons or len(tokens)
            rule = Rule(fresh_name(), kind, State.PENDING, request, count, tuple(tokens), pids)
            return self.book.keep(rule)

    def _known(self, kind: Kind, mandate: Mandate, requester: str, tag: str) -> Rule | None:
        rules_of = self.book.of_request(mandate.request_id)
        rule = min(rules_of, key=lambda one: one.state is not State.PENDING, default=None)
        asked = _asked(mandate, requester, tag)
        if rule and (rule.kind, replace(rule.request, when=asked.when)) != (kind, asked):
            raise RequestIdError(
                "The request id was used for another request.", "Make a new id for each request."
            )
        return rule

    def _tokens(self, pids: Sequence[bytes], opening: Opening) -> list[dict[str, frozenset[bytes]]]:
        """The tokens of each person of whom there are rows."""
        opened = self._vault.open(pids, opening, states=LIVING, history=True)
        found = []
        for _, rows in opened.group_by(["pid"], maintain_order=True):
            found.append(dict(self.book.tokens(flat_rows(rows))))
        return found

    def _carry_out(self, rule: Rule) -> Rule:
        return self._carried_out(rule)[0]

    def _carried_out(self, rule: Rule) -> tuple[Rule, int]:
        """Do what a rule asks for, if it is not done; the rule, and rows that were changed here."""
        if rule.kind is Kind.WITHDRAWAL:
            if rule.state is State.PENDING:
                erasure = self._erased(rule)
                rule = self.book.keep(replace(rule, state=State.DONE, pids=(), erasure_id=erasure.erasure_id))
            return rule, 0
        count = 0
        if rule.kind is Kind.NHS_NUMBER:
            rule = self._noted(rule)
            count = self._people.forget_number(sorted(self._everybody([rule])), NUMBER)
        if rule.kind is Kind.SHARING:
            rule = self._noted(self._each_alone(rule))
        if rule.state is State.PENDING:
            rule = self.book.keep(replace(rule, state=State.DONE))
        return rule, count

    def _erased(self, rule: Rule) -> Erasure:
        # An id of its own: the request's may have been used for an erasure before.
        asked = rule.request
        mandate = Mandate(rule.name, asked.project, asked.purpose)
        return self._erasing.begin(mandate, asked.requester, REASON, asked.tag, lambda: rule.pids)

    def numberless(self) -> set[bytes]:
        """Everybody whose NHS number is not to be used."""
        return self._everybody(self.book.all(Kind.NHS_NUMBER))

    def _everybody(self, found: Sequence[Rule]) -> set[bytes]:
        """All ids of the people of some rules, and of those who were divided from them later."""
        pids = {pid for rule in found for pid in rule.pids}
        units = [unit for rule in found for unit in rule.units]
        if units:
            pids.update(self._people.members(pl.Series(units, dtype=pl.Binary))["pid"].drop_nulls())
        return set(self._vault.all_ids(sorted(pids))) if pids else set()

    def _noted(self, rule: Rule) -> Rule:
        """The rule with the records that its people have now."""
        holders = pl.Series(sorted(self._everybody([rule])), dtype=pl.Binary)
        units = {*rule.units, *self._people.standing(PersonKind.PERSON, holders)["unit"]}
        if units == set(rule.units):
            return rule
        return self.book.keep(replace(rule, units=tuple(sorted(units))))

    def settle(self, members: pl.DataFrame, rows: pl.DataFrame) -> None:
        """After a delivery: rules reach its records, and numbers that are not to be used are taken out.

        Args:
            members: unit and pid of the delivered records.
            rows: unit and nhs, as they were delivered.
        """
        came = set(members["pid"].drop_nulls())
        with self.book.turn:
            for rule in (*self.book.all(Kind.SHARING), *self.book.all(Kind.NHS_NUMBER)):
                if not came.isdisjoint(self._everybody([rule])):
                    self._noted(rule)
        everybody = self.numberless()
        if not everybody:
            return
        mine = members.filter(pl.col("pid").is_in(list(everybody))).join(
            rows.drop_nulls("nhs"), on="unit", how="semi"
        )
        if mine.height:
            self._people.forget_number(mine["pid"].unique().to_list(), NUMBER)

    # --- sharing ---------------------------------------------------------------------------------------

    def refuse_sharing(
        self, mandate: Mandate, requester: str, tag: str, find: Find, persons: int
    ) -> list[Rule]:
        """Note that nothing is to be shared of so many people; a rule for each of them."""
        with self._asking:
            self._carry_out(self._begun(Kind.SHARING, mandate, requester, tag, find, persons))
            return self.book.of_request(mandate.request_id)

    def _each_alone(self, rule: Rule) -> Rule:
        """Divide a request not to share, so that what is decided of one person later changes no other.

        Until it is divided the whole of it holds.
        """
        mine, *others = alone(rule.pids, self._vault.all_ids)
        if not others:
            return rule
        same = [one for one in self.book.of_request(rule.request.request_id) if one.name != rule.name]
        there = {pid for one in same for pid in one.pids}
        for pids in others:
            if there.isdisjoint(pids):
                own = replace(rule, name=fresh_name(), state=State.DONE, persons=1, pids=pids, units=())
                self._noted(self.book.keep(own))
        return self.book.keep(replace(rule, state=State.DONE, persons=1, pids=mine, units=()))

    def override(self, find: Find, override: Override) -> list[Rule]:
        """Let requests not to share not be followed in one respect; the same again changes nothing.

        Returns:
            The rules of those people, first the ones of which somebody is still to be told.

        Raises:
            NotFoundError: there is no such request of theirs.
        """
        with self._asking, self.book.turn:
            theirs = self._requests_of(find())
            if not theirs:
                raise NotFoundError("Nobody of them asked that nothing be shared.", "Nothing was changed.")
            if override.register and registers.find(override.register) is None:
                raise InputError("There is no register of this name.", "kinlink registers list shows them.")
            kept = [self.book.keep(rule.overridden(override)) for rule in theirs]
            return sorted(kept, key=lambda rule: all(one.told for one in rule.overrides))

    def lift(self, find: Find) -> list[Rule]:
        """People have taken their request not to share back; none where there is none any more."""
        with self._asking, self.book.turn:
            theirs = self._requests_of(find())
            return [self.book.keep(replace(rule, state=State.LIFTED)) for rule in theirs]

    def told(self, name: str) -> int:
        """Note that people were told of what overrides a rule, and of the same decision for others.

        Returns:
            Of how many overrides they had not been.

        Raises:
            NotFoundError: there is no such rule.
        """
        with self.book.turn:
            every = self.book.all(Kind.SHARING)
            rule = next((one for one in every if one.name == name), None)
            if rule is None:
                raise NotFoundError("There is no such decision.", "SetSharing answers with its id.")
            untold = {one for one in rule.overrides if not one.told}
            now, count = rules.moment(clock.now()), 0
            for each in every:
                mine = untold.intersection(each.overrides)
                if mine:
                    said = tuple(replace(one, told=now) if one in mine else one for one in each.overrides)
                    self.book.keep(replace(each, overrides=said))
                    count += len(mine)
            return count

    def _requests_of(self, pids: Sequence[bytes]) -> list[Rule]:
        """The requests not to share of people, each of one person."""
        for rule in self.book.all(Kind.SHARING):
            if rule.state is State.PENDING:
                self._carry_out(rule)
        found = self.book.all(Kind.SHARING)
        return [rule for rule in found if not self._everybody([rule]).isdisjoint(pids)]

    # --- circulars -------------------------------------------------------------------------------------

    def no_circulars(self, mandate: Mandate, requester: str, tag: str, rows: pl.DataFrame) -> Rule:
        """Put people on the list of those who want no circulars; `rows` are flat, one a person."""
        with self._asking:
            rule = self._known(Kind.CIRCULATION, mandate, requester, tag)
            if rule is None:
                tokens = tuple(self.book.tokens(rows[place]) for place in range(rows.height))
                request = _asked(mandate, requester, tag)
                rule = Rule(fresh_name(), Kind.CIRCULATION, State.DONE, request, len(tokens), tokens)
                self.book.keep(rule)
            return rule

    def circulars_again(self, rows: pl.DataFrame) -> int:
        """Take people off that list; how many were on it."""
        with self._asking:
            return self.book.taken_off(Kind.CIRCULATION, rows)

    # --- the National Data Opt-out -----------------------------------------------------------------------

    def export(self, mandate: Mandate, requester: str) -> tuple[str, bytes, int, int]:
        """The list to be sent: its name, the file, how many numbers, and until when it is good.

        Raises:
            InputError: nobody agreed how lists are exchanged.
        """
        agreed = self._agreed
        if agreed is None:
            raise InputError(
                "Nothing is agreed of the National Data Opt-out.",
                "The governance file names mailbox and days: national_data_opt_out (docs/running.md).",
            )

        def numbers() -> pl.Series:
            opening = Opening(requester, mandate.purpose, mandate.project)
            found = [numbers_of(some)["nhs"] for some in self._people.known(opening)]
            return pl.concat(found) if found else pl.Series("nhs", [], dtype=pl.String)

        with self._checking:
            check, content = self._checks.export(mandate.project, mandate.request_id, agreed, numbers)
        return check.file, content, check.count, check.expires

    def take(self, project: str, file: str, content: bytes) -> tuple[int, int, int]:
        """Take in a list that came back: how many were sent, came back, and until when it is used."""
        with self._checking:
            check = self._checks.take(project, file, content)
        return check.count, check.cleared, check.expires

    def exempt(self, exemption: Exemption, *, ended: bool) -> bool:
        """Record an exemption, or its end; whether anything changed."""
        register = registers.find(exemption.register)
        if register is None or not register.health:
            raise InputError(
                "The National Data Opt-out concerns no register of this name.",
                "It concerns hes, mhmds and ndtms.",
            )
        with self._checking:
            if ended:
                return self._checks.end_exemption(exemption.project, exemption.register)
            return self._checks.exempt(exemption).when == exemption.when

    def lists(self, project: str) -> tuple[list[Check], list[Exemption]]:
        """The lists that were sent for a project, and its exemptions."""
        with self._checking:
            return self._checks.checks(project), self._checks.exemptions(project)

    def destroy_due(self) -> int:
        """Destroy lists whose time is over; how many."""
        with self._checking:
            return self._checks.destroy_due()

    def forget_project(self, project: str) -> tuple[int, int]:
        """Destroy a project's lists and delete its exemptions; how many of each there were."""
        with self._checking:
            return self._checks.forget_project(project)

    def knows(self, project: str) -> bool:
        """Whether a list was ever sent for a project, or a register of it exempted."""
        with self._checking:
            return self._checks.knows(project)

    # --- registers ---------------------------------------------------------------------------------------

    def gate(self, project: str, register: str, *, read: bool = False) -> Passed | None:
        """What lets a register be linked now; None where the National Data Opt-out does not concern it.

        Raises:
            OptOutMissingError, OptOutStaleError: it may not be linked.
        """
        found = registers.find(register)
        if found is None or not found.health:
            return None
        with self._checking:
            return self._checks.gate(project, register, read=read)

    def unshared(self, register: str, passed: Passed | None = None) -> set[bytes]:
        """Everybody of whom nothing is to be shared with a register.

        Where a cleared list applies, whose NHS number was taken out too: whether they opted out nationally
        cannot be looked up any more.
        """
        apart = [rule for rule in self.book.all(Kind.SHARING) if not rule.shares(register)]
        if passed is not None and passed.cleared is not None:
            apart += self.book.all(Kind.NHS_NUMBER)
        return self._everybody(apart)


def _asked(mandate: Mandate, requester: str, tag: str) -> Asked:
    now = rules.moment(clock.now())
    return Asked(mandate.request_id, mandate.project, mandate.purpose, requester, tag, now)


def numbers_of(opened: pl.DataFrame) -> pl.DataFrame:
    """Pid and nhs of opened rows (`People.known`), present and former numbers, each once."""
    found = columns.found_by(opened.select("nhs", "former")).filter(pl.col("field") == NUMBER)
    pids = opened.select(pl.col("pid"), row=pl.int_range(pl.len(), dtype=pl.UInt32))
    return found.join(pids, on="row").select("pid", nhs="value").unique()


def away(opened: pl.DataFrame, passed: Passed | None) -> set[bytes]:
    """Of opened rows the people who may not be used for a health register."""
    if passed is None or passed.cleared is None:
        return set()
    pids = opened["pid"].unique().to_list()
    return set(pids) - within(pids, numbers_of(opened), passed.cleared)
