"""Results to tables, figures and one page. Neither torch nor SB3 nor gymnasium is needed."""
