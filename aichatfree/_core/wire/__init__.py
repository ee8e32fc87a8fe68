"""What goes over the line: messages, signatures, requests, addresses, headers, and the reading of replies. No I/O."""
