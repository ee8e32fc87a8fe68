"""One module for each foreign package; each is imported only by whoever has that package.

============================================ ==========================================
:mod:`aichatfree.integrations.llm`           models of the ``llm`` command
:mod:`aichatfree.integrations.langchain`     ``ChatAIChatFree``, a chat model of LangChain
:mod:`aichatfree.integrations.opentelemetry` traces and metrics of every call
:mod:`aichatfree.integrations.prometheus`    ``/metrics`` for an aiohttp server
============================================ ==========================================
"""
