"""What a person writes: `motet.toml`, other hosts' files unchanged, or a mapping of the same content."""
