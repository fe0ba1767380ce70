"""What makes a use of people's data lawful, as data: purposes, conditions, accreditation, sharing."""
