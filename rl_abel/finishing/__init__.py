"""What an agent would be worth if training stopped now: copies that are trained on."""
