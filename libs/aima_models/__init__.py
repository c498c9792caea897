"""Models as data: manifests that pin them, a builder that makes the pack, a store that hands out verified files.

Nothing here imports a runtime at import; `session.load_session` and `engines` do so when they are called.
"""
