"""What travels between us and the exchange: REST answers, order requests, WebSocket frames.

Fields are ours (`price_e4`, `count_e2`, `money_e6`, `_ns`), each with its wire name beside it.
Unknown extra fields pass, what we read is checked, optional nulls may be missing
(kalshi-api.md §2.1). Deprecated direction fields (`side`, `action`) are never read.
"""
