"""Models on disk: our checkpoints, other programs' layouts, and the one reader of both."""
