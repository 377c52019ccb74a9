"""What a run will cost, in calls, tokens, money, disk and time."""
