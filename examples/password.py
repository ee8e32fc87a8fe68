"""A server with a site password and a secret of its own."""

from aichatfree import Client, InvalidPasswordError
from aichatfree.server import LocalServer

with LocalServer(reply="Welcome.", password="open sesame", secret="s3cret") as server:
    client = Client(base_url=server.url, secret="s3cret")
    print("Is it 'sesame'?", client.verify_password("sesame"))
    try:
        client.generate("Hello")
    except InvalidPasswordError as error:
        print(error)
    print(client.with_options(password="open sesame").generate("Hello"))
