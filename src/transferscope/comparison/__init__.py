"""Studies side by side: what differs between them, what each found, and the differences with their intervals."""
