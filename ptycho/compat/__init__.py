"""What older command lines and clients expect, in terms of today's settings."""
