"""Legality rules by topic; each is one array function over layouts."""
