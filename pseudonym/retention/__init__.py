"""How long what is kept, and why; and that it is destroyed then, neither later nor earlier."""
