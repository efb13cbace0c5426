"""`motet demo`: the stage (playground, servers, trouble) and the show (three patterns, one summary)."""
