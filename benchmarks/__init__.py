"""What is measured, by commands anyone can run again."""
