"""`python -m dermdistill` is the same as the `dermdistill` command."""

from dermdistill.cli import main

if __name__ == "__main__":
    main()
