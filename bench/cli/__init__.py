"""The command line, described in `commands.toml`. The only room that knows argparse."""
