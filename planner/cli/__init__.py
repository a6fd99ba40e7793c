"""The ``plan`` command: one file per subcommand; no arithmetic here."""
