"""What several analyses share: intervals and verdicts, runs, lines, blocks and advice about them."""
