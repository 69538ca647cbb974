"""chainrule trains neural networks and shows its work."""
