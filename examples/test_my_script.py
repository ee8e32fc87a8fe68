"""Test a script of your own: run me with pytest. The fixtures come with aichatfree."""

from aichatfree import Client
from aichatfree.testing import Reply, ScriptedServer


def summary(client: Client, text: str) -> str:
    """Stand in for the script that is tested."""
    return client.generate(f"Sum up: {text}").strip()


def test_summary(aichatfree_server: ScriptedServer, aichatfree_client: Client) -> None:
    aichatfree_server.enqueue(Reply.overloaded(), Reply("  Short.\n"))  # it fails once, then answers
    assert summary(aichatfree_client, "a long text") == "Short."
    assert aichatfree_server.requests[-1].prompt == "Sum up: a long text"
