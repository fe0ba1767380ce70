"""The council's side of the study: from its file to two halves that are ready to send.

    file ──files──▶ text ──layouts, reading──▶ our columns ──checks──▶ rows, refusals by row and code
                                                                        │
      families on the day ◀──members── ◀────────────────────────────────┘
          │
          └─eligibility──▶ who is shared, and why ──delivery──▶ identifiers │ attributes │ receipt

Everything here runs at the council. Families that do not meet the scheme's minimum are in nothing that
leaves.
"""
