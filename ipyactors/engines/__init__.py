"""What can run the calls that the api makes."""
