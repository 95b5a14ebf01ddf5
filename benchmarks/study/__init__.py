"""One frame for all studies: plan -> units of work -> tables by id -> answers -> page."""
