"""What a user would pick instead, set up as its own documentation recommends, and in its favour in case of doubt."""
