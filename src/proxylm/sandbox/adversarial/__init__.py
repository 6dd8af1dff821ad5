"""Programs that try to pass without the right answer, to get out, or to break the machine.

Each is judged failed and contained in every tier, or the sandbox is not one: ``suite`` runs them
between witnesses that see what gets out. A program that attempts an escape returns the right
answer if it succeeds, so the verdict alone would show it.
"""
