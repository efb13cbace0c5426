"""The filesystem server: files below declared roots, and nothing else (`files://`)."""
