"""What the library does: one module for each HTTP library, both obeying the same core."""
