"""From ledger rows to statements: studies, uncertainty, verdicts, score tables and results cards. Draws nothing."""
