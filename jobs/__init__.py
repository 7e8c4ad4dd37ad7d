"""Work that happens later, by itself, or for a long time: due reminders, follow-ups, and people's workflows."""
