"""Pure decisions: numbers in, decisions out. Standard library only."""
