"""The transport over requests, urllib3 and http.client."""
