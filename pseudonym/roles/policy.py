"""Which role may call which method of which server role: one table, and nothing beside it.

A method that is not in the table is not served, and a caller whose role does not stand beside a method is
refused. The development identity may call everything; it exists only where callers need no certificate.
Health is for whoever has a certificate, and so is reflection, which only development has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pseudonym.roles.callers import SERVER_ROLES, Caller, Role
from pseudonym.roles.refusals import CallerRefusedError

IDENTITY, BROKER, ATTRIBUTES = SERVER_ROLES
COUNCIL, HOLDER, LINKER, REVIEWER = (
    Role.COUNCIL,
    Role.DATASET_HOLDER,
    Role.LINKAGE_OPERATOR,
    Role.REVIEWER,
)
RESEARCHER, APPROVER, OFFICER, CUSTODIAN, AUDITOR = (
    Role.RESEARCHER,
    Role.APPROVER,
    Role.DATA_PROTECTION_OFFICER,
    Role.KEY_CUSTODIAN,
    Role.AUDITOR,
)

SERVED_BY: Mapping[str, tuple[Role, ...]] = {
    "linker.v1.IntakeService": (IDENTITY,),
    "linker.v1.LinkageService": (IDENTITY,),
    "linker.v1.JobService": (IDENTITY,),
    "linker.v1.ModelService": (IDENTITY,),
    "linker.v1.MatchService": (IDENTITY,),
    "linker.v1.ReviewService": (IDENTITY,),
    "pseudonym.v1.VaultService": (IDENTITY,),
    "pseudonym.v1.RightsService": (IDENTITY,),
    "pseudonym.v1.OptOutService": (IDENTITY,),
    "pseudonym.v1.BrokerService": (BROKER,),
    "pseudonym.v1.RightsErrandService": (BROKER,),
    "pseudonym.v1.AttributeService": (ATTRIBUTES,),
    "pseudonym.v1.ReleaseService": (ATTRIBUTES,),
    "pseudonym.v1.TableService": (ATTRIBUTES,),
    "pseudonym.v1.KeyService": SERVER_ROLES,
    "pseudonym.v1.AuditService": SERVER_ROLES,
    "pseudonym.v1.RetentionService": SERVER_ROLES,
}
"""The server roles that serve each service."""

CALLERS: Mapping[str, tuple[Role, ...]] = {
    # Who sends sees what became of what it sent itself, and takes it back; who links sees all of a project.
    "linker.v1.IntakeService/SubmitIdentities": (COUNCIL,),
    "linker.v1.IntakeService/SubmitExtract": (HOLDER,),
    "linker.v1.IntakeService/GetSubmission": (COUNCIL, HOLDER, LINKER),
    "linker.v1.IntakeService/ListSubmissions": (COUNCIL, HOLDER, LINKER),
    "linker.v1.IntakeService/ListRefusals": (COUNCIL, HOLDER, LINKER),
    "linker.v1.IntakeService/DeleteSubmission": (COUNCIL, HOLDER, LINKER),
    "linker.v1.LinkageService/StartLinkage": (LINKER,),
    "linker.v1.LinkageService/StartDeduplication": (LINKER,),
    "linker.v1.LinkageService/TrainModel": (LINKER,),
    "linker.v1.LinkageService/StartJoin": (LINKER,),
    "linker.v1.LinkageService/StartRegister": (LINKER,),
    "linker.v1.LinkageService/ReadLinks": (LINKER,),
    "linker.v1.LinkageService/Explain": (LINKER, REVIEWER),
    "linker.v1.LinkageService/GetReport": (LINKER,),
    "linker.v1.JobService/GetJob": (LINKER,),
    "linker.v1.JobService/ListJobs": (LINKER,),
    "linker.v1.JobService/WatchJob": (LINKER,),
    "linker.v1.JobService/CancelJob": (LINKER,),
    "linker.v1.JobService/DeleteJob": (LINKER,),
    "linker.v1.ModelService/PutModel": (LINKER,),
    "linker.v1.ModelService/GetModel": (LINKER,),
    "linker.v1.ModelService/ListModels": (LINKER,),
    "linker.v1.ModelService/DeleteModel": (LINKER,),
    "linker.v1.MatchService/LoadReference": (LINKER,),
    "linker.v1.MatchService/DropReference": (LINKER,),
    "linker.v1.MatchService/GetReference": (LINKER,),
    "linker.v1.MatchService/ListReferences": (LINKER,),
    "linker.v1.MatchService/PutRecords": (LINKER,),
    "linker.v1.MatchService/RemoveRecords": (LINKER,),
    "linker.v1.MatchService/Match": (LINKER,),
    "linker.v1.MatchService/MatchStream": (LINKER,),
    "linker.v1.MatchService/MatchUpload": (LINKER,),
    # Who links sees what was judged, and not the records; who judges sees the records, and what they judged
    # themselves.
    "linker.v1.ReviewService/NextPair": (REVIEWER,),
    "linker.v1.ReviewService/Judge": (REVIEWER,),
    "linker.v1.ReviewService/Undo": (REVIEWER,),
    "linker.v1.ReviewService/ListJudgements": (REVIEWER, LINKER),
    "linker.v1.ReviewService/GetProgress": (REVIEWER, LINKER),
    "pseudonym.v1.VaultService/LookUp": (OFFICER,),
    # It is sealed to a key of the governance file: who asks for it cannot open it.
    "pseudonym.v1.VaultService/ExportRegister": (LINKER,),
    "pseudonym.v1.VaultService/MergeSubjects": (REVIEWER, OFFICER),
    "pseudonym.v1.VaultService/SplitSubject": (REVIEWER, OFFICER),
    "pseudonym.v1.VaultService/WithdrawLink": (REVIEWER, OFFICER),
    # Who is protected, and which record is let through to them, is the officer's to decide.
    "pseudonym.v1.VaultService/ProtectSubject": (OFFICER,),
    "pseudonym.v1.VaultService/AdmitRecord": (OFFICER,),
    "pseudonym.v1.VaultService/EraseSubjects": (OFFICER,),
    "pseudonym.v1.VaultService/GetErasure": (OFFICER,),
    # A council sees its own, and not whether anybody was found; the officer decides.
    "pseudonym.v1.RightsService/OpenRequest": (COUNCIL, OFFICER),
    "pseudonym.v1.RightsService/GetRequest": (COUNCIL, OFFICER),
    "pseudonym.v1.RightsService/ListRequests": (COUNCIL, OFFICER),
    "pseudonym.v1.RightsService/ExtendRequest": (OFFICER,),
    "pseudonym.v1.RightsService/Decide": (OFFICER,),
    "pseudonym.v1.RightsService/ReadAnswer": (OFFICER,),
    "pseudonym.v1.RightsErrandService/SendErrand": (IDENTITY,),
    "pseudonym.v1.RightsErrandService/ListErrands": (ATTRIBUTES,),
    "pseudonym.v1.RightsErrandService/AcknowledgeErrand": (ATTRIBUTES,),
    # Nobody whose work is with the data learns that anybody decided anything, not even from a count.
    "pseudonym.v1.OptOutService/Withdraw": (OFFICER,),
    "pseudonym.v1.OptOutService/SetNhsNumberOptOut": (OFFICER,),
    "pseudonym.v1.OptOutService/SetSharing": (OFFICER,),
    "pseudonym.v1.OptOutService/ConfirmTold": (OFFICER,),
    "pseudonym.v1.OptOutService/SetCirculation": (OFFICER,),
    "pseudonym.v1.OptOutService/CheckCirculation": (OFFICER,),
    "pseudonym.v1.OptOutService/ExportNumbers": (OFFICER,),
    "pseudonym.v1.OptOutService/ImportCleared": (OFFICER,),
    "pseudonym.v1.OptOutService/SetExemption": (OFFICER,),
    "pseudonym.v1.OptOutService/GetStatus": (OFFICER,),
    # The chain of numbers is for the servers alone; the identity role never sees an aid or a URN.
    "pseudonym.v1.BrokerService/MapSubjects": (IDENTITY,),
    "pseudonym.v1.BrokerService/MoveSubjects": (IDENTITY,),
    "pseudonym.v1.BrokerService/ListRows": (ATTRIBUTES,),
    "pseudonym.v1.BrokerService/LinkRegister": (IDENTITY,),
    "pseudonym.v1.BrokerService/ListLinks": (ATTRIBUTES,),
    "pseudonym.v1.BrokerService/SealNumbers": (IDENTITY,),
    "pseudonym.v1.BrokerService/FollowMoves": (ATTRIBUTES,),
    "pseudonym.v1.BrokerService/ResolveAids": (ATTRIBUTES,),
    "pseudonym.v1.BrokerService/AcknowledgeRows": (ATTRIBUTES,),
    "pseudonym.v1.BrokerService/IssueUrns": (ATTRIBUTES,),
    "pseudonym.v1.BrokerService/ListRecordKeys": (ATTRIBUTES,),
    "pseudonym.v1.BrokerService/ListSupersessions": (ATTRIBUTES, OFFICER),
    # Who may have the list from epoch to epoch cannot open or destroy epochs, nor the reverse.
    "pseudonym.v1.BrokerService/RenewUrns": (OFFICER,),
    "pseudonym.v1.BrokerService/DestroyDomain": (CUSTODIAN,),
    "pseudonym.v1.BrokerService/ListMembers": (IDENTITY,),
    "pseudonym.v1.BrokerService/EraseSubjects": (IDENTITY,),
    "pseudonym.v1.BrokerService/ListErasures": (ATTRIBUTES,),
    "pseudonym.v1.BrokerService/AcknowledgeErasure": (ATTRIBUTES,),
    "pseudonym.v1.BrokerService/ListErasedUrns": (OFFICER,),
    "pseudonym.v1.BrokerService/BeginProject": (CUSTODIAN,),
    "pseudonym.v1.BrokerService/OpenDomain": (CUSTODIAN,),
    # The way back: no researcher, and whoever approves cannot ask.
    "pseudonym.v1.BrokerService/RequestReidentification": (OFFICER,),
    "pseudonym.v1.BrokerService/ApproveReidentification": (APPROVER,),
    "pseudonym.v1.BrokerService/GetReidentification": (OFFICER, APPROVER),
    "pseudonym.v1.BrokerService/ResolveReidentification": (IDENTITY,),
    "pseudonym.v1.AttributeService/OpenProject": (CUSTODIAN,),
    "pseudonym.v1.AttributeService/DeclareDataset": (OFFICER,),
    "pseudonym.v1.AttributeService/SubmitAttributes": (COUNCIL, HOLDER),
    "pseudonym.v1.AttributeService/AttachDataset": (HOLDER,),
    "pseudonym.v1.AttributeService/GetSubmission": (COUNCIL, HOLDER),
    "pseudonym.v1.AttributeService/ListRefusals": (COUNCIL, HOLDER),
    # Researchers neither ask for a release nor have one checked: how many people a choice of columns would
    # single out tells something of people by itself.
    "pseudonym.v1.ReleaseService/CreateRelease": (OFFICER,),
    "pseudonym.v1.ReleaseService/CheckRelease": (OFFICER,),
    "pseudonym.v1.ReleaseService/ApproveRelease": (APPROVER,),
    "pseudonym.v1.ReleaseService/ReadRelease": (RESEARCHER,),
    "pseudonym.v1.ReleaseService/CertifyDestroyed": (RESEARCHER,),
    "pseudonym.v1.ReleaseService/GetRelease": (OFFICER, APPROVER, RESEARCHER),
    "pseudonym.v1.ReleaseService/ListReleases": (OFFICER, APPROVER, RESEARCHER),
    # Nobody who makes or approves tables may read what was not released as one for whom it is; what each
    # reads of a table is for the table's desk to say.
    "pseudonym.v1.TableService/CreateTable": (OFFICER,),
    "pseudonym.v1.TableService/CheckTable": (OFFICER,),
    "pseudonym.v1.TableService/ApproveTable": (APPROVER,),
    "pseudonym.v1.TableService/PublishTable": (APPROVER,),
    "pseudonym.v1.TableService/ReadTable": (COUNCIL, RESEARCHER, OFFICER, APPROVER),
    "pseudonym.v1.TableService/GetTable": (OFFICER, APPROVER),
    "pseudonym.v1.TableService/ListTables": (COUNCIL, RESEARCHER, OFFICER, APPROVER),
    "pseudonym.v1.KeyService/ListKeys": (CUSTODIAN, AUDITOR, OFFICER),
    "pseudonym.v1.KeyService/AddKey": (CUSTODIAN,),
    "pseudonym.v1.KeyService/RotateKey": (CUSTODIAN,),
    "pseudonym.v1.KeyService/DestroyKey": (CUSTODIAN,),
    "pseudonym.v1.KeyService/RenewKek": (CUSTODIAN,),
    "pseudonym.v1.KeyService/GetRenewal": (CUSTODIAN, AUDITOR, OFFICER),
    "pseudonym.v1.KeyService/DestroyProject": (CUSTODIAN,),
    "pseudonym.v1.AuditService/GetCheckpoint": (AUDITOR, OFFICER),
    "pseudonym.v1.AuditService/ProveInclusion": (AUDITOR, OFFICER),
    "pseudonym.v1.AuditService/ProveConsistency": (AUDITOR, OFFICER),
    "pseudonym.v1.AuditService/ListEntries": (AUDITOR, OFFICER),
    # Who sees what is due sees names of projects and recipients; who destroys it holds the role's keys.
    "pseudonym.v1.RetentionService/ListDue": (CUSTODIAN, AUDITOR, OFFICER),
    "pseudonym.v1.RetentionService/RunDestruction": (CUSTODIAN,),
    "pseudonym.v1.RetentionService/ListCertificates": (CUSTODIAN, AUDITOR, OFFICER),
}
"""The roles that may call each method. The operator stands beside none: it has health."""

OWN_ONLY = frozenset({COUNCIL, HOLDER, REVIEWER})
"""Who sees no submissions and judgements in `linker.v1` but its own."""

SECONDS: Mapping[str, float] = {
    "linker.v1.IntakeService/SubmitIdentities": 3600.0,
    "linker.v1.IntakeService/SubmitExtract": 3600.0,
    "linker.v1.LinkageService/ReadLinks": 3600.0,
    "linker.v1.MatchService/MatchStream": 3600.0,
    "linker.v1.MatchService/MatchUpload": 3600.0,
    "linker.v1.JobService/WatchJob": 86_400.0,
    "pseudonym.v1.AttributeService/SubmitAttributes": 3600.0,
    "pseudonym.v1.AttributeService/AttachDataset": 3600.0,
    "pseudonym.v1.VaultService/ExportRegister": 3600.0,
    "pseudonym.v1.OptOutService/Withdraw": 3600.0,
    "pseudonym.v1.OptOutService/SetNhsNumberOptOut": 3600.0,
    "pseudonym.v1.OptOutService/ExportNumbers": 3600.0,
    "pseudonym.v1.OptOutService/ImportCleared": 3600.0,
    "pseudonym.v1.ReleaseService/CheckRelease": 3600.0,
    "pseudonym.v1.ReleaseService/ReadRelease": 3600.0,
    "pseudonym.v1.TableService/CheckTable": 3600.0,
    "pseudonym.v1.BrokerService/RenewUrns": 3600.0,
    "pseudonym.v1.BrokerService/DestroyDomain": 3600.0,
    "pseudonym.v1.KeyService/DestroyProject": 3600.0,
    "pseudonym.v1.RetentionService/RunDestruction": 3600.0,
}
"""How long a call may take at most; `QUICK` where nothing stands here."""
QUICK = 60.0


GROWING = frozenset(
    {
        "linker.v1.IntakeService/SubmitIdentities",
        "linker.v1.IntakeService/SubmitExtract",
        "linker.v1.LinkageService/StartLinkage",
        "linker.v1.LinkageService/StartDeduplication",
        "linker.v1.LinkageService/TrainModel",
        "linker.v1.LinkageService/StartJoin",
        "linker.v1.LinkageService/StartRegister",
        "linker.v1.MatchService/LoadReference",
        "pseudonym.v1.BrokerService/MapSubjects",
        "pseudonym.v1.VaultService/ExportRegister",
        "pseudonym.v1.BrokerService/LinkRegister",
        "pseudonym.v1.BrokerService/SealNumbers",
        "pseudonym.v1.BrokerService/ResolveAids",
        "pseudonym.v1.BrokerService/IssueUrns",
        "pseudonym.v1.BrokerService/ListSupersessions",
        "pseudonym.v1.BrokerService/RenewUrns",
        "pseudonym.v1.BrokerService/BeginProject",
        "pseudonym.v1.BrokerService/OpenDomain",
        "pseudonym.v1.AttributeService/OpenProject",
        "pseudonym.v1.AttributeService/DeclareDataset",
        "pseudonym.v1.AttributeService/SubmitAttributes",
        "pseudonym.v1.AttributeService/AttachDataset",
        "pseudonym.v1.ReleaseService/CreateRelease",
        "pseudonym.v1.ReleaseService/CheckRelease",
        "pseudonym.v1.ReleaseService/ApproveRelease",
        "pseudonym.v1.ReleaseService/ReadRelease",
        "pseudonym.v1.BrokerService/ListRecordKeys",
        "pseudonym.v1.TableService/CreateTable",
        "pseudonym.v1.TableService/CheckTable",
        "pseudonym.v1.TableService/ApproveTable",
        "pseudonym.v1.TableService/PublishTable",
        "pseudonym.v1.TableService/ReadTable",
        "pseudonym.v1.OptOutService/ExportNumbers",
        "pseudonym.v1.OptOutService/ImportCleared",
        "pseudonym.v1.OptOutService/SetExemption",
    }
)
"""What adds to a project or gives numbers out, and is refused from the project's end on.

Requests for the way back have an end of their own (`pseudonym.wayback`). What erases, corrects and destroys
is never refused for being late.
"""


OPENING = frozenset(
    {
        "linker.v1.LinkageService/ReadLinks",
        "linker.v1.LinkageService/Explain",
        "linker.v1.ReviewService/NextPair",
        "linker.v1.MatchService/PutRecords",
        "linker.v1.MatchService/Match",
        "linker.v1.MatchService/MatchStream",
        "linker.v1.MatchService/MatchUpload",
        "pseudonym.v1.TableService/GetTable",
    }
)
"""What shows records or tables of people, or finds them, and is refused from the project's end on as well."""


COVERED = GROWING | {
    "linker.v1.ReviewService/NextPair",
    "linker.v1.MatchService/PutRecords",
    "pseudonym.v1.BrokerService/RequestReidentification",
    "pseudonym.v1.VaultService/LookUp",
}
"""What needs a purpose with a lawful basis (`pseudonym.lawful.cover`).

Nobody is refused their rights because an accreditation has run out: what corrects, erases and destroys is not
here.
"""


COVERED_BY_PROJECT = frozenset(
    {
        "linker.v1.LinkageService/ReadLinks",
        "linker.v1.LinkageService/Explain",
        "linker.v1.MatchService/Match",
        "linker.v1.MatchService/MatchStream",
        "linker.v1.MatchService/MatchUpload",
    }
)
"""What names a project and no purpose: one of the project's has to have a lawful basis."""


POLLS = frozenset(
    f"/pseudonym.v1.{name}"
    for name in (
        *("BrokerService/ListRows", "BrokerService/FollowMoves", "BrokerService/ListErasures"),
        "RightsErrandService/ListErrands",
    )
)
"""What the attributes role asks by itself, again and again, mostly in vain."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the table says of one method.

    Attributes:
        served_by: the server roles that serve it.
        callers: the roles that may call it.
        seconds: how long a call may take at most.
        growing: whether it is refused from the end of its project on.
        covered: whether its project's purpose must have a lawful basis.
        covered_by_project: whether one of its project's purposes must have.
    """

    served_by: tuple[Role, ...]
    callers: frozenset[Role]
    seconds: float
    growing: bool
    covered: bool
    covered_by_project: bool

    def check(self, caller: Caller) -> None:
        """Let the caller in or not.

        Raises:
            CallerRefusedError: the caller's role may not call the method.
        """
        if caller.role is not None and caller.role not in self.callers:
            raise CallerRefusedError(
                f"The role {caller.role} may not call this method.",
                f"Those who may: {', '.join(sorted(self.callers))}." if self.callers else "No role may.",
            )


METHODS: Mapping[str, Rule] = {
    f"/{method}": Rule(
        SERVED_BY[method.partition("/")[0]],
        frozenset(callers),
        SECONDS.get(method, QUICK),
        method in GROWING | OPENING,
        method in COVERED,
        method in COVERED_BY_PROJECT,
    )
    for method, callers in CALLERS.items()
}
"""Every method by its full name, as in "/pseudonym.v1.KeyService/ListKeys"."""


def served_by(role: Role) -> frozenset[str]:
    """The full names of the services that a server role serves."""
    return frozenset(service for service, roles in SERVED_BY.items() if role in roles)
