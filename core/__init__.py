"""What every channel and connector shares: messages, turns, dialog, actions, and the store. Knows no vendor."""
