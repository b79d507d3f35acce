"""`python -m ofa_tk` is the `ofa-tk` command."""

from ofa_tk.app import main

if __name__ == "__main__":
    main()
