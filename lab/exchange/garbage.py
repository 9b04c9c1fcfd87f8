"""Frames that a careful client must survive and refuse."""

KINDS = ("not_json", "truncated", "binary", "wrong_types", "unknown_type")


def garbage_frame(what: str, draw: int, text: str) -> str | bytes:
    """Return one bad frame of that kind; for `any` the draw picks it. `text` is a good one."""
    kind = KINDS[draw % len(KINDS)] if what == "any" else what
    match kind:
        case "not_json":
            return "upstream connect error or disconnect/reset before headers\n"
        case "truncated":
            return text[: len(text) // 2]
        case "binary":
            return b"\x00\xff\xfe" + draw.to_bytes(8, "big")
        case "wrong_types":
            return '{"type":"orderbook_delta","sid":"one","seq":"two","msg":[null,-1e400]}\n'
        case "unknown_type":
            return '{"type":"orderbook_delta_v9","sid":1,"msg":{"market_ticker":7}}\n'
    raise AssertionError(f"no garbage of kind {kind}")
