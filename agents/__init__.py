"""A PyTorch agent for the odd-one-out rooms, trained by behavioral cloning with explanations."""
