"""The analysis file: what a recipient gets of a project's people, and what has to be so before it leaves.

    specification ──▶ read ──▶ build ──▶ numbers of the recipient ──▶ checks ──▶ report ──▶ manifest
                                                                                               │
           recipient ◀── sealed bundle ◀── not expired ◀── two approvals over exactly this ◀────┘

The rules this package keeps:

- A specification names every column that leaves. A register's column has to be in the register's declaration
  for the release's use; nothing of a dataset comes along by itself.
- A person is a reference number of the recipient's, and so is a family. No internal id is in a bundle.
- Every text of a table is one of a closed list, a month, a quarter or a band; what looks like an identifier,
  and every canary, blocks.
- Declared sets of columns by which somebody might be known hold at least k persons and families in each
  combination, after suppression; a set that does not, blocks.
- Two people other than the requester sign the digest of exactly what was built and of the report on it.
"""
