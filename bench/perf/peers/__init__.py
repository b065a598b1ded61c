"""What a user would pick instead, set up as its own documentation says, and given every benefit of the doubt."""
