"""Conjectures: lemmas that are proposed, filtered, proved, audited, and kept if they shorten other proofs."""
