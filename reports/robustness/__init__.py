"""How the ranking of models moves with a setting of the simulation."""
