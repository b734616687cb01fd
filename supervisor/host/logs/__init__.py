"""Gateway output: `pump` moves it to disk, `rotation` keeps the files bounded, `reading` shows them."""
