"""python -m loaders"""

from loaders.cli import main

main()
