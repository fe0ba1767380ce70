"""The methods of `BrokerService` that are about registers: they translate and nothing else."""

from __future__ import annotations

import asyncio
import re
from datetime import date

import polars as pl

from pseudonym import access, exchange_file, hpke
from pseudonym.broker import Broker
from pseudonym.roles import callers, checks, governance
from pseudonym.roles.arrow import ROWS, ReadArrow, frame, written
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import FieldError
from pseudonym.urn import ID_BYTES
from pseudonym.v1 import broker_pb2

_BASIS = re.compile(r"list|exempt [a-z-]{1,64} [A-Za-z0-9._-]{1,64}")


def exchange_of(house: House, project: str, recipient: str) -> governance.Exchange:
    """With whom a recipient's exchange is, as the role was told.

    Raises:
        FieldError: nobody said so.
    """
    found = governance.read(house.settings.governance).exchanges.get((project, recipient))
    if found is None:
        raise FieldError(
            "There is no exchange with this recipient.",
            "The governance files of identity and broker name it, under exchanges.",
            field="recipient",
        )
    return found


class RegisterMethods:
    """The part of the broker's servicer that takes and lists what registers were linked to."""

    _broker: Broker
    _house: House
    _read: ReadArrow

    async def SealNumbers(
        self, request: broker_pb2.SealNumbersRequest, context: object
    ) -> broker_pb2.SealNumbersResponse:
        mandate = checks.mandate(request.mandate)
        recipient = checks.label(request.recipient, "recipient")
        asked = access.Mandate(str(callers.current()), mandate.purpose)

        def seal() -> broker_pb2.SealNumbersResponse:
            exchange = exchange_of(self._house, mandate.project, recipient)
            end_day = checks.day(request.ends, "ends").toordinal() - date(1970, 1, 1).toordinal()
            if not 0 < end_day - self._house.store.now() // 86_400 <= exchange_file.LONGEST_DAYS:
                raise FieldError("An exchange ends after 1 to 31 days.", "Name a day.", field="ends")
            rows = frame(self._read, request.rows, ("handle", "pid"))
            account().count = rows.height
            found = self._broker.registers.numbers(mandate.project, recipient, rows, end_day, asked)
            place = (request.ends, request.number, request.last)
            sealed = hpke.seal(
                exchange.public_key,
                written(found),
                *exchange_file.context(exchange_file.NUMBERS, mandate.project, recipient, *place),
            )
            return broker_pb2.SealNumbersResponse(sealed=sealed, handles=written(found.select("handle")))

        return await asyncio.to_thread(seal)

    async def LinkRegister(
        self, request: broker_pb2.LinkRegisterRequest, context: object
    ) -> broker_pb2.LinkRegisterResponse:
        mandate = checks.mandate(request.mandate)
        register = checks.label(request.register, "register")
        if len(request.run) != ID_BYTES:
            raise FieldError(f"The id of a run is {ID_BYTES} bytes.", "Draw them anew.", field="run")

        def take() -> broker_pb2.LinkRegisterResponse:
            ids = ("row_ref", "unit", "pid", "fid")
            rows = frame(self._read, request.rows, ids)
            persons = frame(self._read, request.persons, ids, ("outcome",))
            account().count = rows.height
            told = self._broker.registers.take(
                mandate.project,
                register,
                request.run,
                rows,
                persons,
                last=request.last,
                opt_out=_basis(request),
            )
            return broker_pb2.LinkRegisterResponse(rows=told.rows, strays=told.strays, persons=told.persons)

        return await asyncio.to_thread(take)

    async def ListLinks(
        self, request: broker_pb2.ListLinksRequest, context: object
    ) -> broker_pb2.ListLinksResponse:
        project = checks.label(request.project, "project")
        after, size = checks.place(request.page_token), min(request.page_size or ROWS, ROWS)

        def outgoing() -> broker_pb2.ListLinksResponse:
            # Before the rows: what is whole here has all its rows in the table.
            runs = self._broker.registers.runs(project)
            rows = self._broker.registers.waiting(project, after, size)
            account().count = rows.height
            more = rows["row_ref"][-1].hex() if rows.height == size else ""
            text = rows.rename({"family": "family_aid"}).with_columns(pl.col("run").cast(pl.String))
            return broker_pb2.ListLinksResponse(
                arrow=written(text),
                next_page_token=more,
                runs=[
                    broker_pb2.RegisterRun(
                        number=number, register=register, whole=whole, opt_out=_told(opt_out)
                    )
                    for number, register, whole, opt_out in runs
                ],
            )

        return await asyncio.to_thread(outgoing)


def _basis(request: broker_pb2.LinkRegisterRequest) -> tuple[str, int] | None:
    """Under what a register was linked, where the request says so.

    Raises:
        FieldError: it is not said in codes.
    """
    if not request.HasField("opt_out"):
        return None
    basis = request.opt_out.basis
    if not _BASIS.fullmatch(basis) or request.opt_out.until < 0:
        raise FieldError("opt_out is no basis.", "It is list, or exempt with two codes.", field="opt_out")
    return basis, request.opt_out.until


def _told(opt_out: tuple[str, int] | None) -> broker_pb2.OptOutBasis | None:
    return None if opt_out is None else broker_pb2.OptOutBasis(basis=opt_out[0], until=opt_out[1])
