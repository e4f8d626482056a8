"""A static report of records: pages, figures and data in one folder, read without a server."""
