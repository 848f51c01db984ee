"""``python -m bridge`` does what the command ``tickbridge`` does."""

from bridge.cli import main

if __name__ == "__main__":
    main()
