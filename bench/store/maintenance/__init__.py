"""Care for the files of a store: listing, showing, checking, tidying, exchange."""
