"""The room: where things stand, what the agent sees, how it moves. Import its modules by name."""
