"""The leaderboard: AUCs by block, complete sets of models and blocks, ranks and tests over them."""
