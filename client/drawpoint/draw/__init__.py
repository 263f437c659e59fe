"""What a draw is: which rows of which chunks a seed names, in parts and batches too. Pure."""
