"""Search: which techniques, in which order and with which settings, meet budgets."""
