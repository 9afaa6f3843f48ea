"""Real logs: their sizes and carts, AUCs with bootstrap intervals over users, and what is said of them."""
