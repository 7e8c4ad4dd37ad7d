"""Every named crash point, by killing or stalling the real service exactly there."""
