"""Commands about keys, audit logs and reference numbers: typer apps that `kinlink` takes in."""
