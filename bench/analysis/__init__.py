"""Analysis: turn ledger rows into studies, verdicts, uncertainty, score tables and results cards. Draws no figures."""
