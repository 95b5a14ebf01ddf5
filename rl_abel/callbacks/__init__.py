"""What a user gives to ``learn()``."""
