"""What train.py is made of, besides the network and the data."""
