"""What compare.py measures."""
