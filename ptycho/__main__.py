"""``python -m ptycho``."""

from ptycho.main import main

if __name__ == "__main__":
    main()
