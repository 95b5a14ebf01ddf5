"""Files of finished runs, read into traces."""
