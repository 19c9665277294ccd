"""From an environment and a policy to episodes, and from episodes to files and back."""
