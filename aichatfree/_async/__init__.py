"""The asynchronous wing: it acts, over aiohttp, on what the core decides."""
