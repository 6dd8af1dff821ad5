"""``python -m proxylm``: the command line, for instance under ``torchrun``."""

from proxylm.cli.main import main

if __name__ == "__main__":
    main()
