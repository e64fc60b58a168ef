"""Recipes: a file that says which steps are run, on which data, and what is measured at the end."""
