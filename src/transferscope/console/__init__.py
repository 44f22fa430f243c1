"""What a person meets at the terminal: the study asked for, bars, tables and short lines, and how a verb ends."""
