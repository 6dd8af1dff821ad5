"""Starts the worker: ``start.py CALLS REPLIES``, two open descriptors.

So short because Python compiles a script anew each time; the modules come compiled.
"""

import sys

import worker

if __name__ == "__main__":
    sys.path.pop(0)  # the candidate imports from the standard library alone
    worker.main(int(sys.argv[1]), int(sys.argv[2]))
