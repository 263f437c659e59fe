"""What there is to convert, and into what: source and store compared before anything is written."""
