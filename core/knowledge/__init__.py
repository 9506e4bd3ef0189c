"""What the crew remembers: search, the index of repositories, the context of a run, learning."""
