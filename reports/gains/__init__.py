"""Gains of one model over another by city: Tables V and VI, Figure 7."""
