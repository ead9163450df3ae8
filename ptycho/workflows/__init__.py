"""Settings become objects, objects become a reconstruction."""
