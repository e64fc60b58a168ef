"""python -m bmc: the command line."""

from bmc.cli import main

if __name__ == "__main__":
    main()
