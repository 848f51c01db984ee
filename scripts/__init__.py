"""What the project generates from its own sources; with ``--check`` a script tells whether its file is current."""
