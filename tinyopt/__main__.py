"""``python -m tinyopt`` is the ``tinyopt`` program."""

from tinyopt.cli import main

main()
