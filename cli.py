"""Shim: `python cli.py fit|validate|test|predict`."""

from dftt.cli import main

if __name__ == "__main__":
    main()
