"""What a council records of its own work, and nobody links: contacts, lead professionals, claims."""
