"""How other programs describe a model in `config.json`, one architecture a file."""
