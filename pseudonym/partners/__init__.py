"""Partner checks: a council asks partners little about families it assesses, and is answered in a word.

file of families ──checks──▶ questions ──signed, sealed──▶ partner ──yes, no, not_found──▶ indicators

`docs/partner-checks.md` says who runs what. Matching is not done here: the command hands it in.
"""
