"""Settings: what can be typed, what is allowed, and how it becomes the old dictionary."""
