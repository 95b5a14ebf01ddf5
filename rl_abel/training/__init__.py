"""One training: what is kept with the model, when to measure, and the measurements."""
