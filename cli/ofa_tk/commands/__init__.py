"""One command a file; `ofa_tk.app.COMMANDS` lists them."""
