"""What can go wrong with the stack, said so that a person knows what to do next."""


class StackError(Exception):
    """Something is missing, taken or broken; the message says what, and what to do."""
