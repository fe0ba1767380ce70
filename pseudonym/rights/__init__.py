"""People's rights: what is asked, by when it has to be answered, what may be refused, and what is answered.

    asked ─▶ case (cases, clock) ─▶ decided (reasons) ─▶ carried out (marks, correcting) ─▶ answer (halves)

Nothing here reads a store or calls anybody: `pseudonym.casebook` keeps cases, `pseudonym.roles` does the
rest.
"""
