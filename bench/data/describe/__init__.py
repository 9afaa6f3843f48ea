"""What funnel tables hold, in numbers: counts, distributions, carts and purchases, columns, and what is suspicious."""
