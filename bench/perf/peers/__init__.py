"""What a user would choose instead, set up as its own documentation recommends, and in its favour in case of doubt."""
