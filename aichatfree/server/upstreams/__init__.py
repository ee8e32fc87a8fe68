"""Models behind the server: Gemini, whatever speaks the OpenAI API, and Ollama. Each is a `reply=` of `LocalServer`.

A module each, over what they share: `base` (one call), `exchange` (HTTP within limits), `events` (bytes to JSON),
`wording` (failures in words that clients know), `keys`, `options`, `prompts`.
"""
