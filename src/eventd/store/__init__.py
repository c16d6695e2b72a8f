"""What eventd keeps on disk: SQLite, and snapshots beside it."""
