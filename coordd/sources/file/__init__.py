"""Read the traces that agents leave in files below .claude/coordination/."""
