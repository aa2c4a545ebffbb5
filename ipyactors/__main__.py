"""``python -m ipyactors``: the command line, where the command itself is not on the path."""

from ipyactors.cli.main import main

if __name__ == "__main__":
    main(prog_name="ipyactors")
