"""The ledger, settlement and reports: every figure can be recomputed from what is stored."""
