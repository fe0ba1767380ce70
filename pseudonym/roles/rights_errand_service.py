"""The servicer of `RightsErrandService`: it translates and nothing else."""

from __future__ import annotations

import asyncio

from pseudonym.roles import checks
from pseudonym.roles.errand_desk import ErrandDesk
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import FieldError
from pseudonym.urn import ID_BYTES
from pseudonym.v1 import rights_errand_pb2 as pb
from pseudonym.v1 import rights_errand_pb2_grpc


class RightsErrandServicer(rights_errand_pb2_grpc.RightsErrandServiceServicer):
    """Errands between the identity and the attributes role."""

    def __init__(self, desk: ErrandDesk) -> None:
        self._desk = desk

    async def SendErrand(self, request: pb.SendErrandRequest, context: object) -> pb.SendErrandResponse:
        mandate = checks.mandate(request.mandate)
        if request.errand.kind not in pb.ErrandKind.values()[1:]:
            raise FieldError("No kind of errand is named.", "Name one of ErrandKind.", field="errand.kind")
        if request.errand.project != mandate.project:
            raise FieldError("The errand is another project's.", "Name one.", field="errand.project")
        locating = request.errand.kind == pb.ErrandKind.ERRAND_KIND_LOCATE
        if not (request.pids or locating) or any(len(pid) != ID_BYTES for pid in request.pids):
            raise FieldError(f"pids are {ID_BYTES} bytes each.", "Name one at the least.", field="pids")
        account().count = len(request.pids)
        account().details = {"errand": request.errand.errand_id, "case": request.errand.case_id}
        take = self._desk.take
        return await asyncio.to_thread(take, request.errand, list(request.pids), received=request.received)

    async def ListErrands(self, request: pb.ListErrandsRequest, context: object) -> pb.ListErrandsResponse:
        waiting = await asyncio.to_thread(self._desk.waiting)
        account().count = len(waiting)
        return pb.ListErrandsResponse(errands=waiting)

    async def AcknowledgeErrand(
        self, request: pb.AcknowledgeErrandRequest, context: object
    ) -> pb.AcknowledgeErrandResponse:
        checks.mandate(request.mandate)
        account().count = await asyncio.to_thread(self._desk.done, request.errand_id, request.sealed)
        return pb.AcknowledgeErrandResponse()
