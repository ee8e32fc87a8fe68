"""What the library decides, without doing: no network, no event loop, no sleeping, no clock of its own."""
