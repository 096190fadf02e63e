"""Every text that is sent, rendered over the true wire for four readers and written into docs/messages.md.

`scenes` lets things happen, `stage` collects what providers and mail server got, `document` writes it down.
"""
