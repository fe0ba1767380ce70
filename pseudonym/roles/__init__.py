"""The three server roles: who may call what, and the services that each of them serves.

certificate ──callers──▶ caller ──policy──▶ method ──servicer──▶ domain ──auditing──▶ reply
"""
