"""What people decided about their data, kept without keeping who they are where that can be.

a person ──forms──▶ tokens (keyed) ──sealed──▶ a rule's paper ──▶ screen ◀──tokens── a delivery's rows
"""
