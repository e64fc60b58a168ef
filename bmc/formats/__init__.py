"""Formats of bundles, one file a target; they import neither torch nor a vendor's package."""
