"""What a decay brings, and when."""
