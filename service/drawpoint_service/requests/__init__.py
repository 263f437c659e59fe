"""What a request asks for, how large its answer will be, and what that answer is."""
