"""`python -m turnstile` is the command `turnstile`."""

from prover.cli import main

if __name__ == "__main__":
    main()
