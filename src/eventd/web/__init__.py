"""The API: views of what is stored, and commands handed on. It decides nothing."""
