"""The magics, what they take, and what TAB offers."""
