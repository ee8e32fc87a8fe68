"""The synchronous wing: it acts, over requests, on what the core decides."""
