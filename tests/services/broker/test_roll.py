"""The broker's log tells when the next hour's event becomes the live one."""

from tests.services.broker.stack import stack, until


async def test_the_roll_is_logged_once(tmp_path, capfd):
    """domain.md §4: at minute :40; the rig's target is 11:00, twenty minutes after it."""
    async with stack(tmp_path / "run", before_target_s=1_203.0) as running:
        running.changes = {"log_level": "info"}
        await running.start_broker()
        said = []

        def rolled():
            said.append(capfd.readouterr().err)
            return "[u-roll]" in "".join(said)

        await until(rolled, "the roll")
    text = "".join(said) + capfd.readouterr().err
    assert text.count("[u-roll] ROLLED U-SERIES: H1000 -> H1100") == text.count("[u-roll]") == 1
