"""The simulated shop of the ESM² paper: its population, its visits, what is clicked and bought, and the tables.

``settings`` (knobs and published facts) → ``population`` (items, users, tastes) and ``dense`` (their many numbers)
→ ``behaviour`` (what is shown, and the chances of every action) → ``shop`` (blocks of users, and the intercepts that
meet the published rates) → ``write`` (Parquet).
"""
