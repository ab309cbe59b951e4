"""Encodings: how a teacher's answers become bytes, each with a stated bound on what that loses."""
